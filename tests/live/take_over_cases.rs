//! What a process does first when it leads: it publishes again what its predecessor may not have published, and
//! lets no edit wait for that.

use std::{sync::Arc, time::Duration};

use elpio_cluster::Cluster;
use elpio_operator::api::ElpioService;
use http::Method;
use kube::{
    Api,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::json;
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    fault_proxy::{Fault, FaultProxy, status, writes_event},
    live_env::{LiveEnv, image},
};

/// Longer than all LISTs of Events may take together, shorter than two that time out.
const SOON: Duration = Duration::from_secs(20);

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

#[tokio::test(flavor = "multi_thread")]
async fn edits_do_not_wait_for_slow_lists_of_events() {
    let cluster = Cluster::shared().await;
    let proxy = FaultProxy::start(&cluster.kubeconfig(), None).await;
    let mut namespaces = Vec::new();
    for n in 0..3 {
        namespaces.push(cluster.namespace(&format!("take-over-lists-{n}")).await);
    }
    let all = format!("{{}},{}", namespaces.join(","));
    let extra = [("ELPIO_NAMESPACES", all.as_str())];
    let mut env = LiveEnv::on(cluster, "take-over-lists", proxy.kubeconfig(), &extra).await;
    env.apply("web", &image("v1")).await;
    env.ready("web").await;
    for namespace in &namespaces {
        let api: Api<ElpioService> = Api::namespaced(env.client.clone(), namespace);
        let object = json!({"apiVersion": "elpio.io/v1alpha1", "kind": "ElpioService",
            "metadata": {"name": "other"}, "spec": image("v1")});
        api.patch("other", &PatchParams::apply("test"), &Patch::Apply(object)).await.unwrap();
        let is_known = |o: Option<&ElpioService>| {
            o.is_some_and(|o| o.status.as_ref().is_some_and(|s| !s.conditions.is_empty()))
        };
        kube::runtime::wait::await_condition(api, "other", is_known).await.unwrap();
    }
    env.operator.kill();
    env.apply("web", &image("v2")).await;
    let gate = Arc::new(Semaphore::new(0));
    proxy.set(move |parts| {
        let lists = parts.method == Method::GET && parts.uri.path().ends_with("/events");
        lists.then(|| Fault::Hold(Arc::clone(&gate)))
    });
    let start = Instant::now();
    env.restart().await;
    env.object(&env.knative(), "web", "image v2", |o| {
        o.data.pointer("/spec/template/spec/containers/0/image") == Some(&json!("registry.local/web:v2"))
    })
    .await;
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}
