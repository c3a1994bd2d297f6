//! From one real engine to the other, and back.

use elpio_cluster::suite::StepTimer;
use kube::core::DynamicObject;
use serde_json::json;

use crate::environment::{Environment, image, with};

const KNATIVES: [(&str, &str); 6] = [
    ("serving.knative.dev/v1", "Service"),
    ("serving.knative.dev/v1", "Route"),
    ("serving.knative.dev/v1", "Configuration"),
    ("serving.knative.dev/v1", "Revision"),
    ("autoscaling.internal.knative.dev/v1alpha1", "PodAutoscaler"),
    ("networking.internal.knative.dev/v1alpha1", "Ingress"),
];
const KEDAS: [(&str, &str); 3] = [
    ("http.keda.sh/v1alpha1", "HTTPScaledObject"),
    ("keda.sh/v1alpha1", "ScaledObject"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
];

fn owned_by(kind: &'static str) -> impl Fn(&DynamicObject) -> bool {
    move |object| object.metadata.owner_references.iter().flatten().any(|owner| owner.kind == kind)
}

pub async fn between_engines_and_back() {
    let environment = Environment::new("switch").await;
    let mut clock = StepTimer::start("switch::between_engines_and_back");
    environment.apply("ElpioService", "web", &image("web", "v1")).await;
    environment.ready("web").await;
    clock.step("on Knative");
    let services = environment.any("v1", "Service");
    environment.object(&services, "web", "Knative's placeholder", owned_by("Route")).await;

    environment
        .apply(
            "ElpioService",
            "web",
            &with(&image("web", "v1"), &json!({"engine": "keda", "scaling": {"minScale": 1}})),
        )
        .await;
    environment.ready("web").await;
    clock.step("on KEDA");
    environment.object(&services, "web", "ours", owned_by("ElpioService")).await;
    environment.none_left(&KNATIVES).await;
    clock.step("nothing of Knative's is left");

    environment.apply("ElpioService", "web", &with(&image("web", "v1"), &json!({"engine": "knative"}))).await;
    environment.ready("web").await;
    clock.step("on Knative again");
    environment.object(&services, "web", "Knative's placeholder", owned_by("Route")).await;
    environment.wait_until_deleted(&environment.deployments(), "web").await;
    environment.none_left(&KEDAS).await;
    clock.step("nothing of KEDA's is left");
    // Three generations; a wait for the old objects to go is no failure.
    let expected = [("Normal Reconciled", 3), ("Normal Progressing", 3), ("Normal Ready", 3)];
    environment.expect_events("ElpioService", "web", &expected).await;
}

pub async fn between_autoscalers() {
    let environment = Environment::new("autoscalers").await;
    let mut clock = StepTimer::start("switch::between_autoscalers");
    let keda = with(&image("web", "v1"), &json!({"engine": "keda"}));
    environment.apply("ElpioService", "web", &keda).await;
    environment.ready("web").await;
    clock.step("by requests");
    let deployment = environment.deployments().get("web").await.unwrap().metadata.uid;
    environment
        .object(&environment.scaled_objects(), "web", "the HTTP add-on's", owned_by("HTTPScaledObject"))
        .await;

    let cpu = json!({"scaling": {"metric": "cpu", "target": 50}, "resources": {"limits": {"cpu": 1}}});
    environment.apply("ElpioService", "web", &with(&keda, &cpu)).await;
    environment.ready("web").await;
    clock.step("by cpu");
    environment.object(&environment.scaled_objects(), "web", "ours", owned_by("ElpioService")).await;
    environment.none_left(&KEDAS[..1]).await;

    environment.apply("ElpioService", "web", &keda).await;
    environment.ready("web").await;
    clock.step("by requests again");
    environment
        .object(&environment.scaled_objects(), "web", "the HTTP add-on's", owned_by("HTTPScaledObject"))
        .await;
    assert_eq!(
        environment.deployments().get("web").await.unwrap().metadata.uid,
        deployment,
        "the Deployment stays"
    );
    let failed = environment
        .events("ElpioService", "web")
        .await
        .into_iter()
        .filter(|event| event.reason.as_deref() == Some("ReconcileFailed"));
    assert_eq!(
        failed.count(),
        0,
        "a wait is no failure: {}",
        crate::environment::notes(&environment.events("ElpioService", "web").await)
    );
}
