//! Objects of the size that the API server allows: they cost the operator little, and nobody else notices.

use elpio_cluster::{eventually, process::stats};
use futures::{StreamExt as _, stream};
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::{
    apply_cases::create,
    stage::{SOON, Stage, image, with},
};

const OBJECTS: usize = 40;
const MIB: u64 = 1 << 20;

/// What the schema allows and the operator does not: nearly 1 MiB.
fn env() -> Value {
    (0..31).map(|n| json!({"name": format!("V{n}"), "value": "x".repeat(32_768)})).collect()
}

/// A Deployment of somebody else, with the label of a child.
fn foreign(name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": {"elpio.io/service": name}},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}},
            "spec": {"containers": [{"name": "c", "image": "registry.local/x", "env": env()}]}}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_1_mib_cost_the_operator_little() {
    let mut stage = Stage::new("hostile").await;
    let before = stage.operator.rss();
    let spec = with(image("v1"), &json!({"env": env()}));
    stream::iter(0..OBJECTS)
        .for_each_concurrent(4, async |n| {
            stage.apply(&format!("big-{n}"), &spec).await;
            create(&stage.deployments(), foreign(&format!("foreign-{n}"))).await;
        })
        .await;
    stage.apply("small", &image("v1")).await;
    stage.ready("small").await;
    eventually("every big one is invalid", SOON, async || {
        let count = stage.operator.sample("elpio_resources", &[("reason", "InvalidSpec")]).await;
        if count == Some(40.0) { Ok(()) } else { Err(format!("{count:?} of {OBJECTS}")) }
    })
    .await;
    let weight = 2 * OBJECTS as u64 * MIB;
    let growth = stats::peak_rss(stage.operator.pid()).saturating_sub(before);
    assert!(growth < weight / 2, "{growth} bytes more for objects of {weight} bytes");
    // By lists now, whose pages would hold them all.
    stage.restart().await;
    let edit = Patch::Merge(json!({"spec": {"image": {"tag": "v2"}}}));
    stage.services().patch("small", &PatchParams::default(), &edit).await.unwrap();
    stage.ready("small").await;
    let growth = stats::peak_rss(stage.operator.pid()).saturating_sub(before);
    assert!(growth < weight / 2, "{growth} bytes more at a start with objects of {weight} bytes");
    for api in [stage.any("elpio.io/v1alpha1", "ElpioService", "elpioservices"), stage.deployments()] {
        api.delete_collection(&kube::api::DeleteParams::default(), &ListParams::default()).await.unwrap();
    }
}
