//! What a process does first when it leads: it publishes again what its predecessor may not have published.

use elpio_cluster::Cluster;
use http::Method;
use kube::core::DynamicObject;
use serde_json::json;

use crate::{
    fault_proxy::{FaultProxy, status, writes_event},
    live_env::{LiveEnv, image},
};

#[tokio::test(flavor = "multi_thread")]
async fn transitions_are_published_although_the_first_status_write_fails() {
    let cluster = Cluster::shared().await;
    let proxy = FaultProxy::start(&cluster.kubeconfig(), None).await;
    let mut env = LiveEnv::on(cluster, "take-over-status", proxy.kubeconfig(), &[]).await;
    proxy.set(|parts| writes_event(parts).then(|| status(503, "ServiceUnavailable", "not now")));
    env.engine.hold();
    env.apply("web", &image("v1")).await;
    env.condition("web", "Ready", "False", "Progressing").await;
    env.operator.kill();
    let mut refused = false;
    proxy.set(move |parts| {
        let path = parts.uri.path();
        let writes = parts.method == Method::PATCH && path.ends_with("/elpioservices/web/status");
        let is_first = writes && !std::mem::replace(&mut refused, true);
        is_first.then(|| status(503, "ServiceUnavailable", "not now"))
    });
    env.engine.release();
    let is_ready = |o: &DynamicObject| o.data.pointer("/status/conditions/1/status") == Some(&json!("True"));
    env.object(&env.knative(), "web", "ready", is_ready).await;
    env.restart().await;
    env.ready("web").await;
    let expected = ["Warning ReconcileFailed", "Normal Reconciled", "Normal Ready"];
    env.expect_events("ElpioService", "web", &expected).await;
}
