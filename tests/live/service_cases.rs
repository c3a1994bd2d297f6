//! Cases from the field about the statuses of services. The engines' statuses are patched by hand where a
//! case is about them.

use elpio_cluster::{Cluster, ClusterOptions, Crds, FakeStatus, eventually};
use elpio_operator::api::{self, ElpioService};
use k8s_openapi::{
    api::core::v1::Namespace, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use crate::live_env::{LiveEnv, TIMEOUT, find, image, summary, version, with};

pub const RESTRICTED: &str = "pod-security.kubernetes.io/enforce";

async fn merge(api: &Api<DynamicObject>, name: &str, patch: &Value) {
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

async fn set_status(api: &Api<DynamicObject>, name: &str, status: &Value) {
    let patch = Patch::Merge(json!({"status": status}));
    api.patch_status(name, &PatchParams::default(), &patch).await.unwrap();
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z"})
}

/// How many reconciles of services have ended.
async fn reconciles(env: &LiveEnv) -> f64 {
    let page = env.operator.metrics("").await;
    elpio_cluster::exposition::series(&page)
        .iter()
        .filter(|s| s.name == "elpio_reconcile_duration_seconds_count" && s.label("kind") == "ElpioService")
        .map(|s| s.value)
        .sum()
}

/// Waits until a change has been reconciled.
async fn reconciled_since(env: &LiveEnv, before: f64) {
    eventually("the change is reconciled", TIMEOUT, async || {
        let now = reconciles(env).await;
        if now > before { Ok(()) } else { Err(format!("{now} reconciles")) }
    })
    .await;
    env.wait_until_idle().await;
}

async fn warnings(env: &LiveEnv, name: &str) -> Vec<String> {
    let mut events = env.events(name).await;
    events.retain(|e| e.type_.as_deref() == Some("Warning"));
    events.iter().map(|e| summary(std::slice::from_ref(e))).collect()
}

/// What the API server answers to this spec, without storing it.
pub async fn refusal(env: &LiveEnv, spec: &Value) -> Option<String> {
    let object = json!({"apiVersion": api::API_VERSION, "kind": "ElpioService", "metadata": {"name": "app"}, "spec": spec});
    let params = PatchParams::apply("test").force().dry_run();
    let answer: kube::Result<ElpioService> =
        env.services().patch("app", &params, &Patch::Apply(object)).await;
    answer.err().map(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_renewed_stays_ready() {
    let env = LiveEnv::new("certificate").await;
    env.engine.set_status("Certificate", "*", FakeStatus::Unchanged);
    let host = "shop.example.com";
    let spec =
        json!({"ingress": {"host": host, "tls": true, "issuer": {"name": "corporate", "kind": "Issuer"}}});
    env.apply("shop", &with(image("v1"), &spec)).await;
    let certificates = env.any("cert-manager.io/v1", "Certificate", "certificates");
    env.object(&certificates, host, "created", |_| true).await;
    let valid = condition("Ready", "True", "Ready", "Certificate is up to date and has not expired");
    set_status(&certificates, host, &json!({"conditions": [valid]})).await;
    let ready = env.ready("shop").await;

    let before = reconciles(&env).await;
    let renewing = condition("Issuing", "True", "Renewing", "Renewing certificate as renewal was scheduled");
    set_status(&certificates, host, &json!({"conditions": [valid, renewing]})).await;
    reconciled_since(&env, before).await;
    let renewed = env.ready("shop").await;
    assert_eq!(version(&renewed), version(&ready), "a renewal writes nothing");
    assert_eq!(renewed.status, ready.status);
    env.wait_for_metric("elpio_services_ready", &[], 1.0).await;
    assert_eq!(warnings(&env, "shop").await, [""; 0]);

    let cause = "The certificate request has failed to complete and will be retried: no such domain";
    let expired = condition("Ready", "False", "Expired", "Certificate expired");
    let failed = condition("Issuing", "False", "Failed", cause);
    set_status(&certificates, host, &json!({"conditions": [expired, failed]})).await;
    let domain = env.condition("shop", "DomainReady", "False", "Failed").await;
    assert!(domain.message.ends_with(cause), "{}", domain.message);
    env.condition("shop", "Ready", "False", "Failed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_pinned_by_another_tool_returns_to_the_spec() {
    let env = LiveEnv::new("traffic-pinned").await;
    env.apply("pinned", &image("v1")).await;
    env.ready("pinned").await;
    let pin = json!([{"revisionName": "pinned-00001", "percent": 100}]);
    merge(&env.knative(), "pinned", &json!({"spec": {"traffic": pin}})).await;
    let latest = |o: &DynamicObject| {
        o.data.pointer("/spec/traffic") == Some(&json!([{"latestRevision": true, "percent": 100}]))
    };
    env.object(&env.knative(), "pinned", "all to the latest revision", latest).await;
    env.apply("pinned", &image("v2")).await;
    env.ready("pinned").await;
    env.object(&env.knative(), "pinned", "still all to the latest revision", latest).await;

    let own =
        json!([{"revisionName": "pinned-00001", "percent": 20}, {"latestRevision": true, "percent": 80}]);
    env.apply("pinned", &with(image("v2"), &json!({"traffic": own}))).await;
    let split = |o: &DynamicObject| o.data.pointer("/spec/traffic") == Some(&own);
    env.object(&env.knative(), "pinned", "split as asked", split).await;
    env.apply("pinned", &image("v2")).await;
    env.object(&env.knative(), "pinned", "all to the latest revision again", latest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_start_keeps_a_service_ready() {
    let env = LiveEnv::with("cold-start", &[("ELPIO_ENGINE", "keda")]).await;
    let spec = json!({"scaling": {"maxScale": 3, "target": 20, "metric": "rps"}, "ingress": {"host": "sleepy.example.com"}});
    env.apply("sleepy", &with(image("v1"), &spec)).await;
    let ready = env.ready("sleepy").await;
    let deployments = env.deployments();
    let has = |replicas: i64, available: i64| {
        move |o: &DynamicObject| {
            let number = |field: &str| {
                o.data.pointer(&format!("/status/{field}")).and_then(Value::as_i64).unwrap_or(0)
            };
            let observed = Some(number("observedGeneration")) == o.metadata.generation;
            observed && (number("replicas"), number("availableReplicas")) == (replicas, available)
        }
    };
    let scale = async |replicas: i64| {
        merge(&deployments, "sleepy", &json!({"spec": {"replicas": replicas}})).await;
    };
    for _ in 0..3 {
        scale(0).await;
        env.object(&deployments, "sleepy", "asleep", has(0, 0)).await;
        let before = reconciles(&env).await;
        env.engine.set_status("Pod", "*", FakeStatus::Pending);
        scale(1).await;
        env.object(&deployments, "sleepy", "waking", has(1, 0)).await;
        reconciled_since(&env, before).await;
        let waking = env.ready("sleepy").await;
        assert_eq!(find(&waking, "Ready"), find(&ready, "Ready"));
        env.engine.set_status("Pod", "*", FakeStatus::Ready);
        env.object(&deployments, "sleepy", "awake", has(1, 1)).await;
        env.wait_until_idle().await;
    }
    let awake = env.ready("sleepy").await;
    assert_eq!(find(&awake, "Ready"), find(&ready, "Ready"), "not for a moment");
    assert_eq!(warnings(&env, "sleepy").await, [""; 0]);

    // A start that is refused is no start.
    scale(0).await;
    env.object(&deployments, "sleepy", "asleep", has(0, 0)).await;
    enforce_restricted(&env).await;
    scale(1).await;
    let failed = env.condition("sleepy", "EngineReady", "False", "FailedCreate").await;
    assert!(failed.message.contains("violates PodSecurity"), "{}", failed.message);
    env.condition("sleepy", "Ready", "False", "FailedCreate").await;
    env.event("sleepy", "Warning", "Progressing").await;
}

pub async fn enforce_restricted(env: &LiveEnv) {
    let namespaces: Api<Namespace> = Api::all(env.client.clone());
    let patch = Patch::Merge(json!({"metadata": {"labels": {RESTRICTED: "restricted"}}}));
    namespaces.patch(&env.namespace, &PatchParams::default(), &patch).await.unwrap();
    // The admission of pods has a watch of its own.
    let probe = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"},
        "spec": {"containers": [{"name": "c", "image": "registry.local/x"}]}});
    let probe: DynamicObject = serde_json::from_value(probe).unwrap();
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let pods = env.any("v1", "Pod", "pods");
    eventually("the policy is in force", TIMEOUT, async || match pods.create(&dry_run, &probe).await {
        Err(error) if error.to_string().contains("PodSecurity") => Ok(()),
        other => Err(format!("{:?}", other.map(|_| "accepted"))),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_the_greatest_length_are_accepted() {
    let env = LiveEnv::new("names").await;
    let long = format!("a{}", "23456789-1".repeat(6) + "23");
    assert_eq!(long.len(), 63);
    let tag = "a-tag-that-makes-the-name-longer-than-a-label-may-be";
    let traffic = json!({"traffic": [{"latestRevision": true, "percent": 100, "tag": tag}]});
    env.apply(&long, &with(image("v1"), &traffic)).await;
    env.ready(&long).await;
    // What an engine makes of such a name is the engine's to report.
    let cause =
        FakeStatus::NotReady { reason: "ErrDomainName".into(), message: "not a DNS 1035 label".into() };
    env.engine.set_status("Service", &long, cause);
    let ready = env.condition(&long, "Ready", "False", "ErrDomainName").await;
    assert!(ready.message.ends_with("not a DNS 1035 label"), "{}", ready.message);

    let on_keda = format!("b{}", &long[1..]);
    let keda = json!({"engine": "keda", "scaling": {"minScale": 1}});
    env.apply(&on_keda, &with(image("v1"), &keda)).await;
    env.ready(&on_keda).await;

    let host = format!("{}.{}.example.com", "a".repeat(63), "b".repeat(63));
    env.apply("host", &with(image("v1"), &json!({"ingress": {"host": host, "tls": true}}))).await;
    env.ready("host").await;
    let too_long = env.try_apply(&format!("{long}4"), &image("v1"), &json!({})).await.unwrap_err();
    assert!(too_long.to_string().contains("at most 63 characters"), "{too_long}");
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_to_a_missing_revision_is_reported() {
    let env = LiveEnv::new("traffic-missing").await;
    env.engine.set_status("Service", "split", FakeStatus::Unchanged);
    let traffic = json!([{"revisionName": "split-00009", "percent": 80, "tag": "old"}, {"latestRevision": true, "percent": 20}]);
    env.apply("split", &with(image("v1"), &json!({"traffic": traffic}))).await;
    let live = env.object(&env.knative(), "split", "created", |_| true).await;
    let message = "Revision \"split-00009\" referenced in traffic not found";
    let missing = ["Ready", "RoutesReady"].map(|kind| condition(kind, "False", "RevisionMissing", message));
    let conditions = [missing.to_vec(), vec![condition("ConfigurationsReady", "True", "", "")]].concat();
    let status = json!({"observedGeneration": live.metadata.generation, "conditions": conditions});
    set_status(&env.knative(), "split", &status).await;
    for kind in ["EngineReady", "Ready"] {
        let condition = env.condition("split", kind, "False", "RevisionMissing").await;
        assert!(condition.message.ends_with(message), "{}", condition.message);
    }
    env.engine.set_status("Service", "split", FakeStatus::Ready);
    env.ready("split").await;
    let fields = [
        ("spec.traffic", json!({"traffic": [{"revisionName": "a-1", "percent": 99}]})),
        ("spec.traffic", json!({"engine": "keda", "traffic": [{"latestRevision": true, "percent": 100}]})),
    ];
    for (field, fields) in fields {
        let refused = refusal(&env, &with(image("v1"), &fields)).await;
        assert!(refused.as_ref().is_some_and(|m| m.contains(field)), "{fields}: {refused:?}");
    }
}

/// The add-on up to 0.11 appends a condition of one type at each step.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_of_several_ready_conditions_counts() {
    let options = ClusterOptions {
        controller_manager: true,
        crds: vec![Crds::ELPIO, Crds::KEDA, Crds::HTTP_ADD_ON],
        ..ClusterOptions::default()
    };
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start(options).await));
    let crds: Api<CustomResourceDefinition> = Api::all(cluster.client().await);
    let mut crd = crds.get("httpscaledobjects.http.keda.sh").await.unwrap();
    for version in &mut crd.spec.versions {
        let schema = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut()).unwrap();
        let status = schema.properties.as_mut().and_then(|p| p.get_mut("status")).unwrap();
        let conditions = status.properties.as_mut().and_then(|p| p.get_mut("conditions")).unwrap();
        conditions.x_kubernetes_list_type = None;
        conditions.x_kubernetes_list_map_keys = None;
    }
    crd.metadata.managed_fields = None;
    crds.replace("httpscaledobjects.http.keda.sh", &PostParams::default(), &crd).await.unwrap();

    let env = LiveEnv::on(cluster, "conditions", &cluster.kubeconfig(), &[("ELPIO_ENGINE", "keda")]).await;
    env.engine.set_status("HTTPScaledObject", "*", FakeStatus::Unchanged);
    env.apply("old", &with(image("v1"), &json!({"ingress": {"host": "old.example.com"}}))).await;
    let scaled = env.any("http.keda.sh/v1alpha1", "HTTPScaledObject", "httpscaledobjects");
    env.object(&scaled, "old", "created", |_| true).await;
    let pending = condition("Ready", "Unknown", "PendingCreation", "creation signal");
    let created = condition("Ready", "True", "AppScaledObjectCreated", "created");
    let last = condition("Ready", "True", "HTTPScaledObjectIsReady", "finished");
    let repeated = json!({"conditions": [pending, created, last]});
    eventually("the loose schema takes it", TIMEOUT, async || {
        let patch = Patch::Merge(json!({"status": repeated}));
        scaled
            .patch_status("old", &PatchParams::default(), &patch)
            .await
            .map(|_| ())
            .map_err(|e| e.to_string())
    })
    .await;
    env.ready("old").await;
    let failed = condition("Ready", "False", "ErrorCreatingAppScaledObject", "no such workload");
    set_status(&scaled, "old", &json!({"conditions": [pending, created, failed]})).await;
    env.condition("old", "Ready", "False", "ErrorCreatingAppScaledObject").await;
}
