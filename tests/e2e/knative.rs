//! Services on Knative's own controllers.

use elpio_cluster::suite::StepTimer;
use elpio_operator::api::ElpioService;
use kube::{api::DeleteParams, core::DynamicObject};
use serde_json::{Value, json};

use crate::place::{Place, image, said_by_engine, with};

fn url(service: &ElpioService) -> Option<String> {
    service.status.as_ref()?.url.clone()
}

/// The revision that Knative sends requests to.
fn serving(service: &DynamicObject) -> Value {
    service.data.pointer("/status/traffic/0/revisionName").cloned().unwrap_or_default()
}

pub async fn a_service_lives() {
    let place = Place::new("life").await;
    let mut clock = StepTimer::start("knative::a_service_lives");
    place.apply("ElpioService", "cart", &image("cart", "v1")).await;
    let ready = place.ready("cart").await;
    clock.step("the service is ready");
    let first = place.knative().get("cart").await.unwrap();
    assert_eq!(
        url(&ready),
        Some(format!("http://cart.{}.apps.example.com", place.namespace)),
        "{:?}",
        ready.status
    );
    assert_eq!(url(&ready).as_deref(), first.data["status"]["url"].as_str(), "the engine's own");
    let address = ready.status.unwrap().address;
    assert_eq!(address.as_deref(), first.data["status"]["address"]["url"].as_str(), "the engine's own");

    place.apply("ElpioService", "cart", &image("cart", "v2")).await;
    place.ready("cart").await;
    clock.step("a second revision takes the traffic");
    let second = place.knative().get("cart").await.unwrap();
    assert_ne!(serving(&second), serving(&first));
    assert_eq!(serving(&second), second.data["status"]["latestReadyRevisionName"]);

    let host = format!("cart.{}.example", place.namespace);
    place
        .apply("ElpioService", "cart", &with(&image("cart", "v2"), &json!({"ingress": {"host": host}})))
        .await;
    place.condition("cart", "DomainReady", |it| it.status == "True").await;
    let ready = place.ready("cart").await;
    clock.step("the domain is mapped");
    assert_eq!(url(&ready), Some(format!("http://{host}")));
    let mapping = place.any("serving.knative.dev/v1beta1", "DomainMapping").get(&host).await.unwrap();
    assert_eq!(said_by_engine(&mapping, "Ready")["status"], "True", "{:?}", mapping.data);

    let secret =
        json!([{"name": "db", "storeRef": "vault", "data": [{"secretKey": "password", "remoteKey": "db"}]}]);
    let more = json!({"ingress": {"host": host, "tls": true}, "externalSecrets": secret});
    place.apply("ElpioService", "cart", &with(&image("cart", "v2"), &more)).await;
    let ready = place.ready("cart").await;
    clock.step("with a certificate and a secret (cert-manager and External Secrets are played)");
    assert_eq!(url(&ready), Some(format!("https://{host}")));
    // Each once for each of the four generations.
    place
        .said(
            "ElpioService",
            "cart",
            &[("Normal Reconciled", 4), ("Normal Progressing", 4), ("Normal Ready", 4)],
        )
        .await;
    clock.step("every Event was said once");

    place.services().delete("cart", &DeleteParams::default()).await.unwrap();
    let made = ["v1 Service", "v1 Route", "v1 Configuration", "v1 Revision", "v1beta1 DomainMapping"];
    let made = made
        .map(|kind| kind.split_once(' ').unwrap())
        .map(|(version, kind)| (format!("serving.knative.dev/{version}"), kind));
    let made: Vec<(&str, &str)> = made.iter().map(|(version, kind)| (version.as_str(), *kind)).collect();
    place.none_left(&made).await;
    place
        .none_left(&[
            ("cert-manager.io/v1", "Certificate"),
            ("external-secrets.io/v1", "ExternalSecret"),
            ("v1", "Pod"),
        ])
        .await;
    clock.step("deleted, and nothing is left");
}

pub async fn inside_the_cluster_alone() {
    let place = Place::new("inside").await;
    let mut clock = StepTimer::start("knative::inside_the_cluster_alone");
    place
        .apply(
            "ElpioService",
            "cart",
            &with(&image("cart", "v1"), &json!({"ingress": {"visibility": "cluster-local"}})),
        )
        .await;
    let ready = place.ready("cart").await;
    clock.step("the service is ready");
    let inside = format!("http://cart.{}.svc.cluster.local", place.namespace);
    assert_eq!((url(&ready), ready.status.unwrap().address), (None, Some(inside.clone())));
    assert_eq!(
        place.knative().get("cart").await.unwrap().data["status"]["url"],
        json!(inside),
        "so says the engine"
    );
}

pub async fn a_program_that_ends_is_said_so_and_mended() {
    let place = Place::new("crash").await;
    let mut clock = StepTimer::start("knative::a_program_that_ends_is_said_so_and_mended");
    place.apply("ElpioService", "cart", &image("kwok-crash/cart", "v1")).await;
    let failed =
        place.condition("cart", "Ready", |it| it.status == "False" && it.reason != "Progressing").await;
    clock.step("the service is not ready");
    assert_eq!(failed.reason, "RevisionFailed", "{failed:?}");
    assert!(failed.message.contains("the program ended"), "{failed:?}");
    let engine = place.condition("cart", "EngineReady", |it| it.status == "False").await;
    assert_eq!((&engine.reason, &engine.message), (&failed.reason, &failed.message));
    // Word for word what the engine says.
    let live = place.knative().get("cart").await.unwrap();
    let said = said_by_engine(&live, "ConfigurationsReady");
    assert_eq!(engine.reason, said["reason"].as_str().unwrap());
    assert!(engine.message.ends_with(said["message"].as_str().unwrap()), "{engine:?} {said}");

    place.apply("ElpioService", "cart", &image("cart", "v2")).await;
    place.ready("cart").await;
    clock.step("mended");
}
