//! From one real engine to the other, and back.

use crate::place::{Place, image, with};
use elpio_cluster::eventually;
use elpio_cluster::suite::Clock;
use kube::api::ListParams;
use kube::core::DynamicObject;
use serde_json::json;

fn owned_by(kind: &'static str) -> impl Fn(&DynamicObject) -> bool {
    move |object| object.metadata.owner_references.iter().flatten().any(|owner| owner.kind == kind)
}

/// Waits until there is no object of these kinds here.
async fn none_left(place: &Place, kinds: &[(&str, &str)]) {
    for (version, kind) in kinds {
        let api = place.any(version, kind);
        eventually(&format!("no {kind} is left"), crate::place::BOUND, async || {
            let left = api.list(&ListParams::default()).await.map_err(|error| error.to_string())?.items;
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
    }
}

pub async fn between_engines_and_back() {
    let place = Place::new("switch").await;
    let mut clock = Clock::start("switch::between_engines_and_back");
    place.apply("ElpioService", "web", &image("web", "v1")).await;
    place.ready("web").await;
    clock.step("on Knative");
    let services = place.any("v1", "Service");
    place.object(&services, "web", "Knative's placeholder", owned_by("Route")).await;

    place.apply("ElpioService", "web", &with(&image("web", "v1"), &json!({"engine": "keda", "scaling": {"minScale": 1}}))).await;
    place.ready("web").await;
    clock.step("on KEDA");
    place.object(&services, "web", "ours", owned_by("ElpioService")).await;
    none_left(
        &place,
        &[
            ("serving.knative.dev/v1", "Service"),
            ("serving.knative.dev/v1", "Route"),
            ("serving.knative.dev/v1", "Configuration"),
            ("serving.knative.dev/v1", "Revision"),
            ("autoscaling.internal.knative.dev/v1alpha1", "PodAutoscaler"),
            ("networking.internal.knative.dev/v1alpha1", "Ingress"),
        ],
    )
    .await;
    clock.step("nothing of Knative's is left");

    place.apply("ElpioService", "web", &with(&image("web", "v1"), &json!({"engine": "knative"}))).await;
    place.ready("web").await;
    clock.step("on Knative again");
    place.object(&services, "web", "Knative's placeholder", owned_by("Route")).await;
    place.gone(&place.deployments(), "web").await;
    none_left(
        &place,
        &[
            ("http.keda.sh/v1alpha1", "HTTPScaledObject"),
            ("keda.sh/v1alpha1", "ScaledObject"),
            ("autoscaling/v2", "HorizontalPodAutoscaler"),
        ],
    )
    .await;
    clock.step("nothing of KEDA's is left");
    // Three generations; a wait for the old objects to go is no failure.
    let expected = [("Normal Reconciled", 3), ("Normal Progressing", 3), ("Normal Ready", 3)];
    place.said("ElpioService", "web", &expected).await;
}

pub async fn between_autoscalers() {
    let place = Place::new("autoscalers").await;
    let mut clock = Clock::start("switch::between_autoscalers");
    let keda = with(&image("web", "v1"), &json!({"engine": "keda"}));
    place.apply("ElpioService", "web", &keda).await;
    place.ready("web").await;
    clock.step("by requests");
    let deployment = place.deployments().get("web").await.unwrap().metadata.uid;
    place.object(&place.scaled_objects(), "web", "the HTTP add-on's", owned_by("HTTPScaledObject")).await;

    let cpu = json!({"scaling": {"metric": "cpu", "target": 50}, "resources": {"limits": {"cpu": 1}}});
    place.apply("ElpioService", "web", &with(&keda, &cpu)).await;
    place.ready("web").await;
    clock.step("by cpu");
    place.object(&place.scaled_objects(), "web", "ours", owned_by("ElpioService")).await;
    none_left(&place, &[("http.keda.sh/v1alpha1", "HTTPScaledObject")]).await;

    place.apply("ElpioService", "web", &keda).await;
    place.ready("web").await;
    clock.step("by requests again");
    place.object(&place.scaled_objects(), "web", "the HTTP add-on's", owned_by("HTTPScaledObject")).await;
    assert_eq!(place.deployments().get("web").await.unwrap().metadata.uid, deployment, "the Deployment stays");
    let failed = place.events("ElpioService", "web").await.into_iter().filter(|event| event.reason.as_deref() == Some("ReconcileFailed"));
    assert_eq!(failed.count(), 0, "a wait is no failure: {}", crate::place::notes(&place.events("ElpioService", "web").await));
}
