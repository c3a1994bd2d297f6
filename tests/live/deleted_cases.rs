//! Owners that are deleted while a reconcile writes their children: its next write comes after the watch has shown
//! the deletion.

use std::sync::Arc;

use elpio_cluster::{Cluster, eventually, exposition};
use kube::{
    ResourceExt,
    api::{DeleteParams, PropagationPolicy},
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::{
    fault_proxy::FaultProxy,
    live_env::{LiveEnv, TIMEOUT, image, with},
    ownership_cases::{arrives, hold},
};

/// The secret is written before the Deployment.
fn spec(tag: &str) -> Value {
    let data = json!([{"secretKey": "a", "remoteKey": tag}]);
    let secrets = json!([{"name": "db", "storeRef": "vault", "data": data}]);
    with(image(tag), &json!({"engine": "keda", "externalSecrets": secrets}))
}

async fn env(proxy: &FaultProxy, name: &str) -> LiveEnv {
    LiveEnv::on(Cluster::shared().await, name, proxy.kubeconfig(), &[]).await
}

/// Holds the writes of secrets.
fn hold_secrets(proxy: &FaultProxy) -> (Arc<Semaphore>, Arc<Semaphore>) {
    hold(proxy, |parts| {
        parts.method == http::Method::PATCH && parts.uri.path().contains("/external-secrets.io/")
    })
}

/// Deletes the service, and waits until the operator's watch has shown that it is gone.
async fn delete(env: &LiveEnv, params: &DeleteParams) {
    env.services().delete("web", params).await.unwrap();
    eventually("the watch has shown the deletion", TIMEOUT, async || {
        let page = env.operator.metrics("").await;
        match exposition::sample(&page, "elpio_resources", &[("kind", "ElpioService")]) {
            Some(0.0) | None => Ok(()),
            more => Err(format!("{more:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_orphaned_during_a_reconcile_stays_an_orphan() {
    let proxy = FaultProxy::start(&Cluster::shared().await.kubeconfig(), None).await;
    let env = env(&proxy, "deleted-orphan").await;
    env.apply("web", &spec("v1")).await;
    env.ready("web").await;
    env.wait_until_idle().await;

    let (gate, arrived) = hold_secrets(&proxy);
    env.apply("web", &spec("v2")).await;
    arrives(&arrived, "it writes the secret").await;
    let orphan =
        DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() };
    delete(&env, &orphan).await;
    let mark = env.cluster.audit_offset();
    gate.add_permits(1000);
    env.wait_until_idle().await;
    let writes = env.requests_since(mark).writes().resource("deployments.apps");
    assert!(writes.is_empty(), "{:?}", writes.count());
    let deployment = env.deployments().get("web").await.unwrap();
    assert!(deployment.owner_references().is_empty(), "{:?}", deployment.owner_references());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_created_once_the_deletion_was_seen() {
    let proxy = FaultProxy::start(&Cluster::shared().await.kubeconfig(), None).await;
    let env = env(&proxy, "deleted-first").await;
    let mark = env.cluster.audit_offset();
    let (gate, arrived) = hold_secrets(&proxy);
    env.apply("web", &spec("v1")).await;
    arrives(&arrived, "it writes the secret").await;
    delete(&env, &DeleteParams::background()).await;
    gate.add_permits(1000);
    env.wait_until_idle().await;
    let writes = env.requests_since(mark).writes().resource("deployments.apps");
    assert!(writes.is_empty(), "{:?}", writes.count());
}
