//! What Knative Serving makes of the services that Elpio renders.

use elpio_cluster::suite::Clock;
use elpio_cluster::{Cluster, Engine, Engines, Options, eventually};
use elpio_operator::api::{self, ElpioService, label};
use elpio_operator::foreign::ChildKind;
use elpio_operator::render::{self, Child, ChildId, Defaults, Owner};
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::OnceCell;

/// What takes 2 s on a quiet machine.
const BOUND: Duration = Duration::from_mins(1);

/// The cluster that all tests share.
async fn cluster() -> &'static Cluster {
    static SERVING: OnceCell<(Cluster, Engines)> = OnceCell::const_new();
    let start = async || {
        let cluster = Cluster::start(Options::full()).await;
        let engines = Engines::start(&cluster, &[Engine::Tekton, Engine::Knative]).await;
        (cluster, engines)
    };
    &SERVING.get_or_init(start).await.0
}

/// A service in a namespace of its own; no operator looks after it.
struct Service {
    client: Client,
    namespace: String,
    uid: String,
}

impl Service {
    async fn new() -> Self {
        let cluster = cluster().await;
        let namespace = cluster.namespace("serve").await;
        let client = cluster.client().await;
        let services: Api<ElpioService> = Api::namespaced(client.clone(), &namespace);
        let spec = json!({"image": {"repository": "registry.example/owner"}});
        let object = ElpioService::new("cart", serde_json::from_value(spec).unwrap());
        let uid = services.create(&PostParams::default(), &object).await.unwrap().metadata.uid.unwrap();
        Self { client, namespace, uid }
    }

    /// Applies what is rendered for that spec.
    async fn apply(&self, spec: &Value) {
        let spec = serde_json::from_value(spec.clone()).unwrap();
        let valid = render::validate("cart", &spec, &Defaults::default()).unwrap();
        let owner = Owner {
            api_version: api::API_VERSION,
            kind: "ElpioService",
            namespace: &self.namespace,
            name: "cart",
            uid: &self.uid,
            label: (label::SERVICE, "cart"),
            build: None,
        };
        for child in render::render(&owner, &valid, &Defaults::default()).children {
            let params = PatchParams::apply(api::FIELD_MANAGER);
            self.api(&child).patch(&child.id.name, &params, &Patch::Apply(child.manifest())).await.unwrap();
        }
    }

    fn api(&self, child: &Child) -> Api<DynamicObject> {
        let resource = child.id.kind.api_resource(child.id.kind.version());
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    /// Waits until a child's condition `Ready` for its current generation is that; answers its status.
    async fn ready(&self, kind: ChildId, expected: &str) -> Value {
        let resource = kind.kind.api_resource(kind.kind.version());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        eventually(&format!("{kind:?} is Ready={expected}"), BOUND, async || {
            let live = api.get(&kind.name).await.map_err(|error| error.to_string())?;
            let status = live.data["status"].clone();
            let current = status["observedGeneration"].as_i64() == live.metadata.generation;
            if current && condition(&status, "Ready")["status"] == expected { Ok(status) } else { Err(status.to_string()) }
        })
        .await
    }
}

fn condition(status: &Value, kind: &str) -> Value {
    let conditions = status["conditions"].as_array();
    conditions.into_iter().flatten().find(|condition| condition["type"] == kind).cloned().unwrap_or_default()
}

fn service() -> ChildId {
    ChildId::new(ChildKind::KnativeService, "cart")
}

pub async fn a_second_revision_takes_over() {
    let served = Service::new().await;
    let mut clock = Clock::start("a_second_revision_takes_over");
    served.apply(&json!({"image": {"repository": "registry.example/shop/cart", "tag": "v1"}})).await;
    let first = served.ready(service(), "True").await;
    clock.step("the service is ready");
    assert_eq!(first["url"], json!(format!("http://cart.{}.apps.example.com", served.namespace)), "{first}");
    served.apply(&json!({"image": {"repository": "registry.example/shop/cart", "tag": "v2"}})).await;
    let second = served.ready(service(), "True").await;
    clock.step("the second revision takes the traffic");
    assert_ne!(first["latestReadyRevisionName"], second["latestReadyRevisionName"], "{second}");
    assert_eq!(second["traffic"][0]["revisionName"], second["latestReadyRevisionName"], "{second}");
}

pub async fn a_domain_is_mapped() {
    let served = Service::new().await;
    let host = format!("cart.{}.example", served.namespace);
    let mut clock = Clock::start("a_domain_is_mapped");
    served.apply(&json!({"image": {"repository": "registry.example/shop/cart"}, "ingress": {"host": host, "tls": false}})).await;
    let mapping = ChildId::new(ChildKind::DomainMapping, &host);
    let status = served.ready(mapping, "True").await;
    clock.step("the domain is ready");
    assert_eq!(status["url"], json!(format!("http://{host}")), "{status}");
}

pub async fn inside_the_cluster_alone() {
    let served = Service::new().await;
    let mut clock = Clock::start("inside_the_cluster_alone");
    served.apply(&json!({"image": {"repository": "registry.example/shop/cart"}, "ingress": {"visibility": "cluster-local"}})).await;
    let status = served.ready(service(), "True").await;
    clock.step("the service is ready");
    assert_eq!(status["url"], json!(format!("http://cart.{}.svc.cluster.local", served.namespace)), "{status}");
}

pub async fn a_program_that_ends_is_said_so() {
    let served = Service::new().await;
    let mut clock = Clock::start("a_program_that_ends_is_said_so");
    served.apply(&json!({"image": {"repository": "registry.example/kwok-crash/cart"}})).await;
    let status = served.ready(service(), "False").await;
    clock.step("the service is not ready");
    // `Ready` itself may name the route, which has nothing to lead to; why stands here alone.
    let why = condition(&status, "ConfigurationsReady");
    assert_eq!((&why["status"], &why["reason"]), (&json!("False"), &json!("RevisionFailed")), "{status}");
    assert!(why["message"].as_str().unwrap().contains("the program ended"), "{status}");
}
