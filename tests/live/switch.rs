//! From one engine, or one autoscaler, to another: the old objects go first where they hold a name that the
//! new ones need.

use serde_json::json;

use crate::live_env::{LiveEnv, children, image, with};

#[tokio::test(flavor = "multi_thread")]
async fn between_engines_and_back() {
    let env = LiveEnv::new("switch-engine").await;
    env.apply("web", &image("v1")).await;
    env.ready("web").await;
    let placeholder = env.any("v1", "Service", "services");
    let of = |kind: &'static str| {
        move |o: &kube::core::DynamicObject| {
            o.metadata.owner_references.iter().flatten().any(|r| r.kind == kind)
        }
    };
    env.object(&placeholder, "web", "Knative's placeholder", of("Route")).await;

    env.apply("web", &with(image("v1"), &json!({"engine": "keda"}))).await;
    let ready = env.ready("web").await;
    assert_eq!(
        children(&ready).iter().map(|c| c.kind.as_str()).collect::<Vec<_>>(),
        ["Deployment", "Service", "HTTPScaledObject"]
    );
    env.wait_until_deleted(&env.knative(), "web").await;
    env.object(&placeholder, "web", "ours", of("ElpioService")).await;
    let events = crate::live_env::reasons(&env.events("web").await);
    assert!(!events.contains(&"Warning ReconcileFailed".to_owned()), "a wait is no failure: {events:?}");

    env.apply("web", &with(image("v1"), &json!({"engine": "knative"}))).await;
    env.ready("web").await;
    env.wait_until_deleted(&env.deployments(), "web").await;
    env.wait_until_deleted(&env.any("http.keda.sh/v1alpha1", "HTTPScaledObject", "httpscaledobjects"), "web")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn between_autoscalers() {
    let env = LiveEnv::with("switch-metric", &[("ELPIO_ENGINE", "keda")]).await;
    env.apply("web", &image("v1")).await;
    env.ready("web").await;
    let deployment = env.deployments().get("web").await.unwrap();
    let cpu = json!({"scaling": {"metric": "cpu", "target": 50}, "resources": {"limits": {"cpu": 1}}});
    env.apply("web", &with(image("v1"), &cpu)).await;
    let ready = env.ready("web").await;
    assert_eq!(
        children(&ready).iter().map(|c| c.kind.as_str()).collect::<Vec<_>>(),
        ["Deployment", "Service", "ScaledObject"]
    );
    let scaled = env.any("keda.sh/v1alpha1", "ScaledObject", "scaledobjects");
    env.object(&scaled, "web", "ours", |o| {
        o.metadata.owner_references.iter().flatten().any(|r| r.kind == "ElpioService")
    })
    .await;
    assert_eq!(
        env.deployments().get("web").await.unwrap().metadata.uid,
        deployment.metadata.uid,
        "the Deployment stays"
    );
    let events = crate::live_env::reasons(&env.events("web").await);
    assert!(!events.contains(&"Warning ReconcileFailed".to_owned()), "a wait is no failure: {events:?}");
    env.apply("web", &image("v1")).await;
    env.ready("web").await;
}
