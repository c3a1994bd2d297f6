//! The manifest on a real API server: applied as a user would, and the operator at work with the permissions that
//! it grants and no other.

use std::{path::Path, time::Duration};

use elpio_cluster::{
    Cluster, ClusterOptions, Crds, FakeEngineOptions, FakeEngines, Operator, eventually, operator::Exit,
};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams, ValidationDirective},
    core::{DynamicObject, GroupVersionKind},
    discovery::{Scope, pinned_kind},
};
use serde_json::{Value, json};

use crate::{object, objects};

const TIMEOUT: Duration = Duration::from_mins(1);

/// Without the permission to `update` their owner's finalizers, this plugin refuses children whose owner
/// references block deletion.
const STRICT_OWNERS: &str = "--enable-admission-plugins=OwnerReferencesPermissionEnforcement";

async fn apply(client: &Client, value: &Value) {
    let object: DynamicObject = serde_json::from_value(value.clone()).unwrap();
    let gvk = GroupVersionKind::try_from(object.types.as_ref().unwrap()).unwrap();
    let (resource, capabilities) = pinned_kind(client, &gvk).await.unwrap();
    let api: Api<DynamicObject> = match (capabilities.scope, object.metadata.namespace.as_deref()) {
        (Scope::Cluster, _) => Api::all_with(client.clone(), &resource),
        (Scope::Namespaced, namespace) => Api::namespaced_with(client.clone(), namespace.unwrap(), &resource),
    };
    let params =
        PatchParams { field_validation: Some(ValidationDirective::Strict), ..PatchParams::apply("kubectl") };
    let name = object.metadata.name.clone().unwrap();
    let applied = api.patch(&name, &params, &Patch::Apply(&object)).await;
    applied.unwrap_or_else(|error| panic!("{} {name}: {error}", gvk.kind));
}

async fn install(cluster: &Cluster) -> Client {
    let client = cluster.client().await;
    for object in &objects() {
        apply(&client, object).await;
    }
    // The manifest's own CRDs, and now also served.
    cluster.apply_crds(&[Crds::ELPIO]).await;
    client
}

fn service(namespace: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "elpio.io/v1alpha1", "kind": "ElpioService", "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

/// Services that together need a child of every kind.
pub fn every_child(namespace: &str) -> [Value; 3] {
    let image = json!({"repository": "registry.local/app"});
    let secrets =
        json!([{"name": "db", "storeRef": "vault", "data": [{"secretKey": "PASSWORD", "remoteKey": "db"}]}]);
    let shop = json!({"image": image, "externalSecrets": secrets, "ingress": {"host": "shop.example.com", "tls": true}});
    let cpu = json!({"image": image, "engine": "keda", "resources": {"requests": {"cpu": "100m"}}, "scaling": {"metric": "cpu", "target": 50}});
    let rps = json!({"image": image, "engine": "keda", "scaling": {"metric": "rps"}});
    [service(namespace, "shop", &shop), service(namespace, "cpu", &cpu), service(namespace, "rps", &rps)]
}

async fn settled(client: &Client, namespace: &str, name: &str, children: &[&str]) {
    let gvk = GroupVersionKind::gvk("elpio.io", "v1alpha1", "ElpioService");
    let (resource, _) = pinned_kind(client, &gvk).await.unwrap();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    eventually(&format!("{name} is ready, with {children:?}"), TIMEOUT, async || {
        let status = api.get(name).await.map_err(|error| error.to_string())?.data["status"].take();
        let kinds: Vec<&str> = status["children"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|child| child["kind"].as_str())
            .collect();
        if status["ready"] == true && kinds == children { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_installs_and_the_operator_works_with_its_permissions() {
    let crds = Crds::ALL.into_iter().filter(|crds| *crds != Crds::ELPIO).collect();
    let api_server_flags = vec![STRICT_OWNERS.to_owned()];
    let cluster =
        Cluster::start(ClusterOptions { controller_manager: true, crds, api_server_flags, audit: false })
            .await;
    let client = install(&cluster).await;
    pod_is_admitted(&client).await;

    let kubeconfig = cluster.kubeconfig_for_service_account("elpio-system", "elpio-operator").await;
    // As in the Deployment: the Lease is in the pod's namespace.
    let env = [("ELPIO_LEADER_ELECT", "on"), ("ELPIO_METRICS", "on"), ("POD_NAMESPACE", "elpio-system")];
    let mut operator = Operator::spawn(Path::new(env!("CARGO_BIN_EXE_elpio-operator")), &kubeconfig, &env);
    operator.wait_ready().await;

    let namespace = cluster.namespace("installed").await;
    let _engine = FakeEngines::start(
        client.clone(),
        FakeEngineOptions { pods: true, side_effects: true, ..FakeEngineOptions::in_namespace(&namespace) },
    );
    let [shop, cpu, rps] = every_child(&namespace);
    for service in [&shop, &cpu, &rps] {
        apply(&client, service).await;
    }
    settled(&client, &namespace, "shop", &["ExternalSecret", "Certificate", "Service", "DomainMapping"])
        .await;
    settled(&client, &namespace, "cpu", &["Deployment", "Service", "ScaledObject"]).await;
    settled(&client, &namespace, "rps", &["Deployment", "Service", "HTTPScaledObject"]).await;

    // The permission to delete, too.
    let mut plain = shop.clone();
    plain["spec"] = json!({"image": shop["spec"]["image"]});
    apply(&client, &plain).await;
    settled(&client, &namespace, "shop", &["Service"]).await;

    let page = operator.metrics("text/plain").await;
    let forbidden: Vec<&str> =
        page.lines().filter(|line| line.contains("http_response_status_code=\"403\"")).collect();
    assert!(forbidden.is_empty(), "{forbidden:#?}");
    assert!(operator.sample("elpio_events_total", &[("outcome", "created")]).await.unwrap() > 0.0);
    assert_eq!(operator.sample("elpio_events_total", &[("outcome", "failed")]).await, Some(0.0));
    assert_eq!(operator.sample("leader_election_master_status", &[]).await, Some(1.0));
    assert_eq!(operator.terminate(TIMEOUT).await, Exit::Code(0), "{}", operator.log_tail());
}

/// The namespace's Pod Security admission takes the Deployment's pod, and would not take a careless one.
async fn pod_is_admitted(client: &Client) {
    let template = object::<Deployment>("Deployment", "elpio-operator").spec.unwrap().template;
    let mut pod = Pod { metadata: template.metadata.unwrap(), spec: template.spec, ..Pod::default() };
    pod.metadata.name = Some("admitted".to_owned());
    let pods: Api<Pod> = Api::namespaced(client.clone(), "elpio-system");
    let only_asked = PostParams { dry_run: true, ..PostParams::default() };
    pods.create(&only_asked, &pod).await.expect("restricted Pod Security admits it");
    pod.spec.as_mut().unwrap().containers[0].security_context.as_mut().unwrap().capabilities = None;
    let refused = pods.create(&only_asked, &pod).await.unwrap_err().to_string();
    assert!(refused.contains("violates PodSecurity"), "{refused}");
}
