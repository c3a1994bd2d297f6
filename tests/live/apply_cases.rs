//! Switches that keep what serves until its successor is accepted, and writes after the Lease is lost.

use std::time::Duration;

use elpio_cluster::{Cluster, ClusterOptions, Crds, Operator, Webhook, eventually, webhook::Rule};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use crate::live_env::{LiveEnv, TIMEOUT, binary, image, with};

const KSVC: &str = "services.serving.knative.dev";

pub(crate) fn on(engine: &str) -> Value {
    with(image("v1"), &json!({"engine": engine}))
}

pub(crate) fn host(host: &str, tls: bool) -> Value {
    json!({"ingress": {"host": host, "tls": tls}})
}

pub(crate) async fn create(api: &Api<DynamicObject>, object: Value) -> DynamicObject {
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
}

pub(crate) async fn merge(api: &Api<DynamicObject>, name: &str, patch: Value) -> DynamicObject {
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_switch_keeps_the_old_engine() {
    let env = LiveEnv::new("switch-refused").await;
    env.apply("web", &on("keda")).await;
    env.ready("web").await;
    let before = env.keda_uids("web").await;
    let webhook = Webhook::start(env.client.clone(), &env.namespace).await;
    webhook.refuse(KSVC, 422, "no Knative here");
    env.apply("web", &on("knative")).await;
    let condition = env.condition("web", "Reconciled", "False", "ApplyFailed").await;
    for part in ["no Knative here", "Deployment web", "Service web", "HTTPScaledObject web"] {
        assert!(condition.message.contains(part), "{part}: {}", condition.message);
    }
    assert_eq!(env.keda_uids("web").await, before, "what serves is as it was");
    webhook.clear();
    env.ready("web").await;
    env.wait_until_deleted(&env.deployments(), "web").await;
    env.wait_until_deleted(&env.http_scaled_objects(), "web").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finalizer_does_not_hold_up_a_switch_without_a_clash() {
    let env = LiveEnv::new("switch-finalizer").await;
    env.apply("web", &on("keda")).await;
    env.ready("web").await;
    let hangs = |finalizers: Value| json!({"metadata": {"finalizers": finalizers}});
    merge(&env.http_scaled_objects(), "web", hangs(json!(["example.org/hangs"]))).await;
    env.apply("web", &on("knative")).await;
    env.ready("web").await;
    env.object(&env.http_scaled_objects(), "web", "is being deleted", |o| {
        o.metadata.deletion_timestamp.is_some()
    })
    .await;
    env.wait_until_deleted(&env.deployments(), "web").await;
    merge(&env.http_scaled_objects(), "web", hangs(Value::Null)).await;
    env.wait_until_deleted(&env.http_scaled_objects(), "web").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_engine_keeps_the_domain() {
    let crds = vec![Crds::ELPIO, Crds::KNATIVE, Crds::CERT_MANAGER];
    let options = ClusterOptions { crds, audit: true, ..ClusterOptions::default() };
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start(options).await));
    let env = LiveEnv::on(cluster, "switch-missing", &cluster.kubeconfig(), &[]).await;
    let tls = host("web.apps.example.org", true);
    env.apply("web", &with(on("knative"), &tls)).await;
    env.ready("web").await;
    let mapping = env.domain_mappings().get("web.apps.example.org").await.unwrap().uid();
    env.apply("web", &with(on("keda"), &tls)).await;
    env.condition("web", "Reconciled", "False", "DependencyMissing").await;
    env.wait_until_idle().await;
    assert_eq!(env.domain_mappings().get("web.apps.example.org").await.unwrap().uid(), mapping);
    assert_eq!(env.deployments().get_opt("web").await.unwrap(), None, "the new set is not begun");
    env.knative().get("web").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_host_stays_until_the_new_one_is_accepted() {
    let env = LiveEnv::new("switch-host").await;
    let mappings = env.domain_mappings();
    env.apply("web", &with(on("knative"), &host("a.apps.example.org", false))).await;
    env.ready("web").await;
    let before = mappings.get("a.apps.example.org").await.unwrap().uid();
    let theirs = json!({"apiVersion": "serving.knative.dev/v1beta1", "kind": "DomainMapping",
        "metadata": {"name": "b.apps.example.org"},
        "spec": {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "theirs"}}});
    create(&mappings, theirs).await;
    env.apply("web", &with(on("knative"), &host("b.apps.example.org", false))).await;
    let condition = env.condition("web", "Reconciled", "False", "NameConflict").await;
    assert!(condition.message.contains("DomainMapping a.apps.example.org"), "{}", condition.message);
    env.wait_until_idle().await;
    assert_eq!(mappings.get("a.apps.example.org").await.unwrap().uid(), before);
    mappings.delete("b.apps.example.org", &DeleteParams::default()).await.unwrap();
    env.ready("web").await;
    env.wait_until_deleted(&mappings, "a.apps.example.org").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_metric_keeps_the_autoscaler() {
    let env = LiveEnv::new("switch-autoscaler").await;
    env.apply("web", &on("keda")).await;
    env.ready("web").await;
    let before = env.keda_uids("web").await;
    let webhook = Webhook::start(env.client.clone(), &env.namespace).await;
    webhook.add(Rule::refuse("scaledobjects.keda.sh", 422, "no cpu scaler"));
    let cpu = json!({"scaling": {"metric": "cpu", "target": 50}, "resources": {"limits": {"cpu": 1}}});
    env.apply("web", &with(on("keda"), &cpu)).await;
    let condition = env.condition("web", "Reconciled", "False", "ApplyFailed").await;
    assert!(condition.message.contains("no cpu scaler"), "{}", condition.message);
    assert_eq!(env.keda_uids("web").await, before);
    webhook.clear();
    env.ready("web").await;
    env.wait_until_deleted(&env.http_scaled_objects(), "web").await;
}

/// The owner's deletion is not in the cache yet, and a retry is due.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lease_stops_writes_in_the_middle() {
    let cluster = Cluster::shared().await;
    // An environment for its verbs; its own operator watches another namespace.
    let env = LiveEnv::with("lost-lease", &[("ELPIO_NAMESPACES", "nobody-is-here")]).await;
    let namespace = env.namespace.as_str();
    let leases: Api<Lease> = Api::namespaced(env.client.clone(), namespace);
    let environment = [
        ("ELPIO_NAMESPACES", namespace),
        ("POD_NAMESPACE", namespace),
        ("ELPIO_LEADER_ELECT", "on"),
        ("ELPIO_METRICS", "on"),
        ("ELPIO_METRICS_ADDR", "127.0.0.1"),
    ];
    let mut operator = Operator::spawn(binary(), &cluster.kubeconfig(), &environment);
    operator.wait_ready().await;
    let webhook = Webhook::start(env.client.clone(), namespace).await;
    webhook.add(Rule::delay("externalsecrets.external-secrets.io", Duration::from_secs(2)));
    let secrets: Vec<Value> = (0..30)
        .map(|n| json!({"name": format!("s{n}"), "storeRef": "vault", "data": [{"secretKey": "a", "remoteKey": "a"}]}))
        .collect();
    env.apply("web", &with(image("v1"), &json!({"externalSecrets": secrets}))).await;
    let seen = |webhook: &Webhook| {
        webhook.requests().iter().filter(|seen| seen.resource == "externalsecrets").count()
    };
    eventually("it writes", TIMEOUT, async || match seen(&webhook) {
        0 | 1 => Err("nothing yet"),
        _ => Ok(()),
    })
    .await;
    let lease = eventually("the Lease", TIMEOUT, async || {
        let all = leases.list(&kube::api::ListParams::default()).await.map_err(|e| e.to_string())?;
        all.items.into_iter().next().ok_or_else(|| "none".to_owned())
    })
    .await;
    let stolen = json!({"spec": {"holderIdentity": "another", "leaseDurationSeconds": 3600,
        "renewTime": format!("{:.6}", jiff::Timestamp::now())}});
    leases.patch(&lease.name_any(), &PatchParams::default(), &Patch::Merge(stolen)).await.unwrap();
    eventually("it does not lead", TIMEOUT, async || {
        match operator.sample("leader_election_master_status", &[]).await {
            Some(0.0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let at_loss = seen(&webhook);
    assert!(at_loss < 20, "the Lease was lost too late for this test: {at_loss} of 30 were written");
    eventually("nothing runs", TIMEOUT, async || {
        match operator.sample("elpio_reconcile_active", &[("kind", "ElpioService")]).await {
            Some(0.0) => Ok(()),
            other => Err(format!("{other:?} run, {} written", seen(&webhook))),
        }
    })
    .await;
    let after = seen(&webhook) - at_loss;
    assert!(after <= 1, "{after} writes after the loss");
}
