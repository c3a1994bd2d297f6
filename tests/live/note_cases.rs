//! What `Reconciled` says where others write to the children as well.

use std::time::{Duration, Instant};

use elpio_cluster::Cluster;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::{
    apply_cases::merge,
    fault_proxy::{FaultProxy, status},
    live_env::{LiveEnv, find, image, with},
};

fn variables(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"name": name, "value": "1"})).collect()
}

async fn with_message(env: &LiveEnv, what: &str, wanted: impl Fn(&str) -> bool) {
    env.service("web", what, |object| find(object, "Reconciled").is_some_and(|c| wanted(&c.message))).await;
}

/// The same as for a field that another manager keeps changing.
#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_is_deleted_again_and_again_is_contended() {
    let env = LiveEnv::with("note-deleted", &[("ELPIO_ENGINE", "keda")]).await;
    env.apply("web", &image("v1")).await;
    env.ready("web").await;
    env.wait_until_idle().await;
    let (deployments, begun, mut deleted) = (env.deployments(), Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(8) {
        deleted += u32::from(deployments.delete("web", &DeleteParams::background()).await.is_ok());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!((2..=8).contains(&deleted), "{deleted} in eight seconds");
    with_message(&env, "it is contended", |message| message.contains("corrections are delayed")).await;
    env.object(&deployments, "web", "created again", |_| true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_a_dropped_field_is_named_for_as_long_as_it_is_there() {
    let cluster = Cluster::shared().await;
    let proxy = FaultProxy::start(&cluster.kubeconfig(), None).await;
    let env = LiveEnv::on(cluster, "note-held", proxy.kubeconfig(), &[("ELPIO_ENGINE", "keda")]).await;
    env.apply("web", &with(image("v1"), &json!({"env": variables(&["A", "B"])}))).await;
    env.ready("web").await;
    let deployments = env.deployments();
    let holds = async |names: &[&str]| {
        let container = json!([{"name": "web", "env": variables(names)}]);
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"template": {"spec": {"containers": container}}}});
        deployments
            .patch("web", &PatchParams::apply("kubectl").force(), &Patch::Apply(object))
            .await
            .unwrap();
    };
    holds(&["B", "ZZ"]).await;
    env.wait_until_idle().await;
    proxy.set(|parts| {
        let removes =
            parts.headers.get("content-type").is_some_and(|value| value == "application/json-patch+json");
        removes.then(|| status(422, "Invalid", "no"))
    });
    env.apply("web", &with(image("v1"), &json!({"env": variables(&["A"])}))).await;
    let is_named = |message: &str| {
        message.contains("Deployment web: field") && message.contains("also owned by field manager kubectl")
    };
    with_message(&env, "kubectl is named", is_named).await;
    env.ready("web").await;
    // An event that changes nothing of what Elpio applies, and an edit of something else.
    merge(&deployments, "web", json!({"metadata": {"annotations": {"example.org/x": "1"}}})).await;
    env.wait_until_idle().await;
    with_message(&env, "it is named still", is_named).await;
    env.apply("web", &with(image("v2"), &json!({"env": variables(&["A"])}))).await;
    env.ready("web").await;
    with_message(&env, "it is named after an edit", is_named).await;

    holds(&["ZZ"]).await;
    with_message(&env, "it is named no longer", |message| !message.contains("field manager")).await;
}
