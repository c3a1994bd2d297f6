//! Services on Knative's own controllers.

use elpio_cluster::suite::StepTimer;
use elpio_operator::api::ElpioService;
use kube::{api::DeleteParams, core::DynamicObject};
use serde_json::{Value, json};

use crate::environment::{Environment, engine_condition, image, with};

fn url(service: &ElpioService) -> Option<String> {
    service.status.as_ref()?.url.clone()
}

/// The revision that Knative sends requests to.
fn serving(service: &DynamicObject) -> Value {
    service.data.pointer("/status/traffic/0/revisionName").cloned().unwrap_or_default()
}

pub async fn a_service_lives() {
    let environment = Environment::new("life").await;
    let mut clock = StepTimer::start("knative::a_service_lives");
    environment.apply("ElpioService", "cart", &image("cart", "v1")).await;
    let ready = environment.ready("cart").await;
    clock.step("the service is ready");
    let first = environment.knative().get("cart").await.unwrap();
    assert_eq!(
        url(&ready),
        Some(format!("http://cart.{}.apps.example.com", environment.namespace)),
        "{:?}",
        ready.status
    );
    assert_eq!(url(&ready).as_deref(), first.data["status"]["url"].as_str(), "the engine's own");
    let address = ready.status.unwrap().address;
    assert_eq!(address.as_deref(), first.data["status"]["address"]["url"].as_str(), "the engine's own");

    environment.apply("ElpioService", "cart", &image("cart", "v2")).await;
    environment.ready("cart").await;
    clock.step("a second revision takes the traffic");
    let second = environment.knative().get("cart").await.unwrap();
    assert_ne!(serving(&second), serving(&first));
    assert_eq!(serving(&second), second.data["status"]["latestReadyRevisionName"]);

    let host = format!("cart.{}.example", environment.namespace);
    environment
        .apply("ElpioService", "cart", &with(&image("cart", "v2"), &json!({"ingress": {"host": host}})))
        .await;
    environment.condition("cart", "DomainReady", |it| it.status == "True").await;
    let ready = environment.ready("cart").await;
    clock.step("the domain is mapped");
    assert_eq!(url(&ready), Some(format!("http://{host}")));
    let mapping = environment.any("serving.knative.dev/v1beta1", "DomainMapping").get(&host).await.unwrap();
    assert_eq!(engine_condition(&mapping, "Ready")["status"], "True", "{:?}", mapping.data);

    let secret =
        json!([{"name": "db", "storeRef": "vault", "data": [{"secretKey": "password", "remoteKey": "db"}]}]);
    let more = json!({"ingress": {"host": host, "tls": true}, "externalSecrets": secret});
    environment.apply("ElpioService", "cart", &with(&image("cart", "v2"), &more)).await;
    let ready = environment.ready("cart").await;
    clock.step("with a certificate and a secret (cert-manager and External Secrets are played)");
    assert_eq!(url(&ready), Some(format!("https://{host}")));
    // Each once for each of the four generations.
    environment
        .expect_events(
            "ElpioService",
            "cart",
            &[("Normal Reconciled", 4), ("Normal Progressing", 4), ("Normal Ready", 4)],
        )
        .await;
    clock.step("every Event was said once");

    environment.services().delete("cart", &DeleteParams::default()).await.unwrap();
    let made = ["v1 Service", "v1 Route", "v1 Configuration", "v1 Revision", "v1beta1 DomainMapping"];
    let made = made
        .map(|kind| kind.split_once(' ').unwrap())
        .map(|(version, kind)| (format!("serving.knative.dev/{version}"), kind));
    let made: Vec<(&str, &str)> = made.iter().map(|(version, kind)| (version.as_str(), *kind)).collect();
    environment.none_left(&made).await;
    environment
        .none_left(&[
            ("cert-manager.io/v1", "Certificate"),
            ("external-secrets.io/v1", "ExternalSecret"),
            ("v1", "Pod"),
        ])
        .await;
    clock.step("deleted, and nothing is left");
}

pub async fn inside_the_cluster_alone() {
    let environment = Environment::new("inside").await;
    let mut clock = StepTimer::start("knative::inside_the_cluster_alone");
    environment
        .apply(
            "ElpioService",
            "cart",
            &with(&image("cart", "v1"), &json!({"ingress": {"visibility": "cluster-local"}})),
        )
        .await;
    let ready = environment.ready("cart").await;
    clock.step("the service is ready");
    let inside = format!("http://cart.{}.svc.cluster.local", environment.namespace);
    assert_eq!((url(&ready), ready.status.unwrap().address), (None, Some(inside.clone())));
    assert_eq!(
        environment.knative().get("cart").await.unwrap().data["status"]["url"],
        json!(inside),
        "so says the engine"
    );
}

/// By default Knative refuses a container that adds the capability for it.
pub async fn a_low_port_is_served() {
    let environment = Environment::new("low").await;
    environment.apply("ElpioService", "web", &with(&image("web", "v1"), &json!({"port": 80}))).await;
    environment.ready("web").await;
}

pub async fn a_program_that_ends_is_reported_and_replaced() {
    let environment = Environment::new("crash").await;
    let mut clock = StepTimer::start("knative::a_program_that_ends_is_said_so_and_mended");
    environment.apply("ElpioService", "cart", &image("kwok-crash/cart", "v1")).await;
    let failed =
        environment.condition("cart", "Ready", |it| it.status == "False" && it.reason != "Progressing").await;
    clock.step("the service is not ready");
    assert_eq!(failed.reason, "RevisionFailed", "{failed:?}");
    assert!(failed.message.contains("the program ended"), "{failed:?}");
    let engine = environment.condition("cart", "EngineReady", |it| it.status == "False").await;
    assert_eq!((&engine.reason, &engine.message), (&failed.reason, &failed.message));
    // Word for word what the engine says.
    let live = environment.knative().get("cart").await.unwrap();
    let reported = engine_condition(&live, "ConfigurationsReady");
    assert_eq!(engine.reason, reported["reason"].as_str().unwrap());
    assert!(engine.message.ends_with(reported["message"].as_str().unwrap()), "{engine:?} {reported}");

    environment.apply("ElpioService", "cart", &image("cart", "v2")).await;
    environment.ready("cart").await;
    clock.step("mended");
}
