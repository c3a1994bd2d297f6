//! From one engine, or one autoscaler, to another: the old objects go first where they hold a name that the
//! new ones need.

use serde_json::json;

use crate::stage::{Stage, children, image, with};

#[tokio::test(flavor = "multi_thread")]
async fn between_engines_and_back() {
    let stage = Stage::new("switch-engine").await;
    stage.apply("web", &image("v1")).await;
    stage.ready("web").await;
    let placeholder = stage.any("v1", "Service", "services");
    let of = |kind: &'static str| {
        move |o: &kube::core::DynamicObject| {
            o.metadata.owner_references.iter().flatten().any(|r| r.kind == kind)
        }
    };
    stage.object(&placeholder, "web", "Knative's placeholder", of("Route")).await;

    stage.apply("web", &with(image("v1"), &json!({"engine": "keda"}))).await;
    let ready = stage.ready("web").await;
    assert_eq!(
        children(&ready).iter().map(|c| c.kind.as_str()).collect::<Vec<_>>(),
        ["Deployment", "Service", "HTTPScaledObject"]
    );
    stage.wait_until_deleted(&stage.knative(), "web").await;
    stage.object(&placeholder, "web", "ours", of("ElpioService")).await;
    let events = crate::stage::reasons(&stage.events("web").await);
    assert!(!events.contains(&"Warning ReconcileFailed".to_owned()), "a wait is no failure: {events:?}");

    stage.apply("web", &with(image("v1"), &json!({"engine": "knative"}))).await;
    stage.ready("web").await;
    stage.wait_until_deleted(&stage.deployments(), "web").await;
    stage
        .wait_until_deleted(
            &stage.any("http.keda.sh/v1alpha1", "HTTPScaledObject", "httpscaledobjects"),
            "web",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn between_autoscalers() {
    let stage = Stage::with("switch-metric", &[("ELPIO_ENGINE", "keda")]).await;
    stage.apply("web", &image("v1")).await;
    stage.ready("web").await;
    let deployment = stage.deployments().get("web").await.unwrap();
    let cpu = json!({"scaling": {"metric": "cpu", "target": 50}, "resources": {"limits": {"cpu": 1}}});
    stage.apply("web", &with(image("v1"), &cpu)).await;
    let ready = stage.ready("web").await;
    assert_eq!(
        children(&ready).iter().map(|c| c.kind.as_str()).collect::<Vec<_>>(),
        ["Deployment", "Service", "ScaledObject"]
    );
    let scaled = stage.any("keda.sh/v1alpha1", "ScaledObject", "scaledobjects");
    stage
        .object(&scaled, "web", "ours", |o| {
            o.metadata.owner_references.iter().flatten().any(|r| r.kind == "ElpioService")
        })
        .await;
    assert_eq!(
        stage.deployments().get("web").await.unwrap().metadata.uid,
        deployment.metadata.uid,
        "the Deployment stays"
    );
    let events = crate::stage::reasons(&stage.events("web").await);
    assert!(!events.contains(&"Warning ReconcileFailed".to_owned()), "a wait is no failure: {events:?}");
    stage.apply("web", &image("v1")).await;
    stage.ready("web").await;
}
