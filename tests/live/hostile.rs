//! Objects of the size that the API server allows: they cost the operator little, and nobody else notices.

use elpio_cluster::{eventually, process::stats};
use futures::{StreamExt as _, stream};
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::{
    apply_cases::create,
    live_env::{LiveEnv, TIMEOUT, image, with},
};

const OBJECTS: usize = 40;
const MIB: u64 = 1 << 20;

/// What the schema allows and the operator does not: nearly 1 MiB.
fn variables() -> Value {
    (0..31).map(|n| json!({"name": format!("V{n}"), "value": "x".repeat(32_768)})).collect()
}

/// A Deployment of somebody else, with the label of a child.
fn foreign(name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": {"elpio.io/service": name}},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}},
            "spec": {"containers": [{"name": "c", "image": "registry.local/x", "env": variables()}]}}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_1_mib_cost_the_operator_little() {
    let mut env = LiveEnv::new("hostile").await;
    let before = env.operator.rss();
    let spec = with(image("v1"), &json!({"env": variables()}));
    stream::iter(0..OBJECTS)
        .for_each_concurrent(4, async |n| {
            env.apply(&format!("big-{n}"), &spec).await;
            create(&env.deployments(), foreign(&format!("foreign-{n}"))).await;
        })
        .await;
    env.apply("small", &image("v1")).await;
    env.ready("small").await;
    eventually("every big one is invalid", TIMEOUT, async || {
        let count = env.operator.sample("elpio_resources", &[("reason", "InvalidSpec")]).await;
        if count == Some(40.0) { Ok(()) } else { Err(format!("{count:?} of {OBJECTS}")) }
    })
    .await;
    let weight = 2 * OBJECTS as u64 * MIB;
    let growth = stats::peak_rss(env.operator.pid()).saturating_sub(before);
    assert!(growth < weight / 2, "{growth} bytes more for objects of {weight} bytes");
    // By lists now, whose pages would hold them all.
    env.restart().await;
    let edit = Patch::Merge(json!({"spec": {"image": {"tag": "v2"}}}));
    env.services().patch("small", &PatchParams::default(), &edit).await.unwrap();
    env.ready("small").await;
    let growth = stats::peak_rss(env.operator.pid()).saturating_sub(before);
    assert!(growth < weight / 2, "{growth} bytes more at a start with objects of {weight} bytes");
    for api in [env.any("elpio.io/v1alpha1", "ElpioService", "elpioservices"), env.deployments()] {
        api.delete_collection(&kube::api::DeleteParams::default(), &ListParams::default()).await.unwrap();
    }
}
