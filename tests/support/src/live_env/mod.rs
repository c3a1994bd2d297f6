//! What every live test stands on: a namespace of its own on the shared control plane, an operator for it,
//! the stand-in engine.

mod children;
mod events;
mod metrics;

use std::{
    path::{Path, PathBuf},
    sync::LazyLock,
    time::Duration,
};

use elpio_cluster::{
    Audit, Cluster, FakeEngineOptions, FakeEngines, Operator, OtlpReceiver, eventually, wait_for_object,
};
use elpio_operator::api::{ElpioService, condition::Condition};
use k8s_openapi::api::events::v1::Event;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

pub use children::{children, find};
pub use events::{reasons, summary};
pub use metrics::{leads, wait_until_leading};

/// Enough for a machine that builds something else at the same time; a healthy run needs a second.
pub const TIMEOUT: Duration = Duration::from_mins(1);

/// The operator's binary: cargo builds it for every suite, beside the folder of the suite's own.
pub fn binary() -> &'static Path {
    static BINARY: LazyLock<PathBuf> = LazyLock::new(|| {
        let suite = std::env::current_exe().expect("a path of this process");
        let profile = suite.ancestors().nth(2).expect("a folder above target/PROFILE/deps");
        profile.join(format!("elpio-operator{}", std::env::consts::EXE_SUFFIX))
    });
    &BINARY
}

pub struct LiveEnv {
    pub cluster: &'static Cluster,
    pub client: Client,
    pub namespace: String,
    pub operator: Operator,
    pub engine: FakeEngines,
    pub otlp: OtlpReceiver,
    kubeconfig: PathBuf,
    environment: Vec<(String, String)>,
}

impl LiveEnv {
    /// A ready operator on Knative, with its page on and its telemetry pushed to a receiver.
    pub async fn new(name: &str) -> Self {
        Self::with(name, &[]).await
    }

    pub async fn with(name: &str, extra: &[(&str, &str)]) -> Self {
        let cluster = Cluster::shared().await;
        Self::on(cluster, name, &cluster.kubeconfig(), extra).await
    }

    /// On a cluster of the test's own, or as another user. `{}` in a value is the environment's namespace.
    pub async fn on(
        cluster: &'static Cluster,
        name: &str,
        kubeconfig: &Path,
        extra: &[(&str, &str)],
    ) -> Self {
        let namespace = cluster.namespace(name).await;
        let client = cluster.client().await;
        let otlp = OtlpReceiver::start().await;
        let mut environment: Vec<(String, String)> = [
            ("ELPIO_NAMESPACES", namespace.as_str()),
            ("ELPIO_METRICS", "on"),
            ("ELPIO_METRICS_ADDR", "127.0.0.1"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &otlp.endpoint()),
            ("OTEL_BSP_SCHEDULE_DELAY", "100"),
            ("OTEL_BLRP_SCHEDULE_DELAY", "100"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        environment
            .extend(extra.iter().map(|(name, value)| ((*name).to_owned(), value.replace("{}", &namespace))));
        let operator = start(kubeconfig, &environment).await;
        let play = FakeEngineOptions {
            pods: cluster.has_controller_manager(),
            ..FakeEngineOptions::in_namespace(&namespace)
        };
        let engine = FakeEngines::start(client.clone(), play);
        Self {
            cluster,
            client,
            namespace,
            operator,
            engine,
            otlp,
            kubeconfig: kubeconfig.to_owned(),
            environment,
        }
    }

    /// Another process in the place of this one.
    pub async fn restart(&mut self) {
        self.operator = start(&self.kubeconfig, &self.environment).await;
    }

    pub fn services(&self) -> Api<ElpioService> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn any(&self, api_version: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource =
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    /// What a user would do with kubectl.
    pub async fn apply(&self, name: &str, spec: &Value) -> ElpioService {
        self.try_apply(name, spec, &json!({})).await.expect("a valid ElpioService")
    }

    pub async fn try_apply(
        &self,
        name: &str,
        spec: &Value,
        annotations: &Value,
    ) -> kube::Result<ElpioService> {
        let object = json!({"apiVersion": "elpio.io/v1alpha1", "kind": "ElpioService", "metadata": {"name": name, "annotations": annotations}, "spec": spec});
        self.services().patch(name, &PatchParams::apply("test").force(), &Patch::Apply(object)).await
    }

    /// Waits until the object is as `wanted` says.
    pub async fn service(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&ElpioService) -> bool,
    ) -> ElpioService {
        eventually(&format!("{name}: {what}"), TIMEOUT, async || {
            let object = self.services().get(name).await.map_err(|e| e.to_string())?;
            if wanted(&object) {
                Ok(object)
            } else {
                Err(serde_json::to_string_pretty(&object.status).unwrap())
            }
        })
        .await
    }

    /// Waits until a condition holds, at the object's current generation.
    pub async fn condition(&self, name: &str, kind: &str, status: &str, reason: &str) -> Condition {
        find(&self.with_condition(name, kind, status, reason).await, kind).unwrap()
    }

    async fn with_condition(&self, name: &str, kind: &str, status: &str, reason: &str) -> ElpioService {
        let is = |object: &ElpioService| {
            let now = object.metadata.generation;
            find(object, kind)
                .is_some_and(|c| c.status == status && c.reason == reason && c.observed_generation == now)
        };
        self.service(name, &format!("{kind}={status}/{reason}"), is).await
    }

    /// Waits until it is ready; as it was then.
    pub async fn ready(&self, name: &str) -> ElpioService {
        self.with_condition(name, "Ready", "True", "Reconciled").await
    }

    /// The Events of an object, oldest first.
    pub async fn events(&self, name: &str) -> Vec<Event> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let all = api.list(&ListParams::default()).await.unwrap().items;
        let mut own: Vec<Event> = all
            .into_iter()
            .filter(|e| e.regarding.as_ref().is_some_and(|r| r.name.as_deref() == Some(name)))
            .collect();
        own.sort_by_key(|e| e.event_time.clone().map(|t| t.0));
        own
    }

    /// Waits for an Event.
    pub async fn event(&self, name: &str, type_: &str, reason: &str) -> Event {
        eventually(&format!("{name}: Event {type_} {reason}"), TIMEOUT, async || {
            let events = self.events(name).await;
            let found = events
                .iter()
                .find(|e| e.type_.as_deref() == Some(type_) && e.reason.as_deref() == Some(reason));
            found.cloned().ok_or_else(|| summary(&events))
        })
        .await
    }

    /// Waits until the Events that regard an object of this kind are these, oldest first: a status does not
    /// wait for its Events for ever.
    pub async fn expect_events(&self, kind: &str, name: &str, expected: &[&str]) -> Vec<Event> {
        eventually(&format!("the Events of {kind} {name} are {expected:?}"), TIMEOUT, async || {
            let mut events = self.events(name).await;
            events.retain(|e| e.regarding.as_ref().is_some_and(|r| r.kind.as_deref() == Some(kind)));
            if reasons(&events) == expected { Ok(events) } else { Err(summary(&events)) }
        })
        .await
    }

    /// Waits until something exists that is as `wanted` says.
    pub async fn object(
        &self,
        api: &Api<DynamicObject>,
        name: &str,
        what: &str,
        wanted: impl Fn(&DynamicObject) -> bool,
    ) -> DynamicObject {
        wait_for_object(api, name, what, TIMEOUT, wanted).await
    }

    pub async fn wait_until_deleted(&self, api: &Api<DynamicObject>, name: &str) {
        elpio_cluster::wait_until_deleted(api, name, TIMEOUT).await;
    }

    /// What the operator asked of the API server in this namespace since `mark`.
    pub fn requests_since(&self, mark: u64) -> Audit {
        self.cluster.audit_since(mark).user_agent("elpio-operator").namespace(&self.namespace)
    }
}

async fn start(kubeconfig: &Path, environment: &[(String, String)]) -> Operator {
    let pairs: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut operator = Operator::spawn(binary(), kubeconfig, &pairs);
    operator.wait_ready().await;
    operator
}

pub fn image(tag: &str) -> Value {
    json!({"image": {"repository": "registry.local/web", "tag": tag}})
}

/// `base` with the fields of `more` laid over it.
pub fn with(mut base: Value, more: &Value) -> Value {
    base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    base
}

pub fn version(object: &impl ResourceExt) -> String {
    object.resource_version().unwrap_or_default()
}
