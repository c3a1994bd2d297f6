//! Services on KEDA, its HTTP add-on and metrics-server: who scales, and that the operator lets them.

use elpio_cluster::{engines::pods, eventually, suite::StepTimer};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt as _,
    api::{Api, DeleteParams, ListParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::place::{BOUND, Place, image, notes, said_by_engine, with};

fn replicas(deployment: &DynamicObject, of: &str) -> i64 {
    deployment.data.pointer(of).and_then(Value::as_i64).unwrap_or_default()
}

fn kinds(service: &elpio_operator::api::ElpioService) -> Vec<String> {
    service.status.as_ref().unwrap().children.iter().map(|child| child.kind.clone()).collect()
}

/// The autoscaler that KEDA made, and by what it scales.
async fn autoscaler(place: &Place, name: &str) -> Value {
    let scaled = place.scaled_objects();
    let scaled = place
        .object(&scaled, name, "ready, says KEDA", |it| said_by_engine(it, "Ready")["status"] == "True")
        .await;
    let hpa =
        scaled.data.pointer("/status/hpaName").and_then(Value::as_str).expect("KEDA names its autoscaler");
    let hpas = place.any("autoscaling/v2", "HorizontalPodAutoscaler");
    place.object(&hpas, hpa, "made by KEDA", |_| true).await.data["spec"]["metrics"][0].clone()
}

pub async fn load_scales_and_nobody_fights_it() {
    let place = Place::new("cpu").await;
    let mut clock = StepTimer::start("keda::load_scales_and_nobody_fights_it");
    let scaling = json!({"engine": "keda", "scaling": {"metric": "cpu", "target": 50, "maxScale": 4}, "resources": {"requests": {"cpu": "100m"}}});
    place.apply("ElpioService", "worker", &with(&image("worker", "v1"), &scaling)).await;
    let ready = place.ready("worker").await;
    clock.step("the service is ready");
    assert_eq!(kinds(&ready), ["Deployment", "Service", "ScaledObject"]);
    let metric = autoscaler(&place, "worker").await;
    assert_eq!(
        (&metric["resource"]["name"], &metric["resource"]["target"]["averageUtilization"]),
        (&json!("cpu"), &json!(50)),
        "{metric}"
    );
    clock.step("KEDA has made its autoscaler");

    let mark = place.world.cluster.audit_offset();
    let pods: Api<Pod> = Api::namespaced(place.client.clone(), &place.namespace);
    let pod = pods.list(&ListParams::default().labels("elpio.io/service=worker")).await.unwrap().items[0]
        .name_any();
    let load = Patch::Merge(json!({"metadata": {"annotations": {"kwok.x-k8s.io/usage-cpu": "150m"}}}));
    pods.patch(&pod, &PatchParams::default(), &load).await.unwrap();
    // Three times what one replica should use; while the node reports the step up, it looks like more.
    let available = |it: &DynamicObject| replicas(it, "/status/availableReplicas");
    let scaled = |it: &DynamicObject| {
        (3..=4).contains(&replicas(it, "/spec/replicas")) && available(it) == replicas(it, "/spec/replicas")
    };
    place.object(&place.deployments(), "worker", "3 or 4 replicas", scaled).await;
    clock.step("scaled by what metrics-server measured");
    place.ready("worker").await;
    // What an engine scales is no drift.
    let written = place
        .asked_since(mark)
        .writes()
        .filter(|entry| !entry.summary().contains("status") && !entry.summary().contains("events"));
    assert!(written.is_empty(), "{:?}", written.count());
    // Nor is it news: it served all the while.
    let events = place.events("ElpioService", "worker").await;
    let said: Vec<_> = events.iter().filter_map(|event| event.reason.as_deref()).collect();
    assert_eq!(said, ["Reconciled", "Progressing", "Ready"], "{}", notes(&events));
    assert!(events.iter().all(|event| event.series.is_none()), "{}", notes(&events));

    let before = place.deployments().get("worker").await.unwrap();
    place.apply("ElpioService", "worker", &with(&image("worker", "v2"), &scaling)).await;
    place.ready("worker").await;
    clock.step("another image at this scale");
    let after = place.deployments().get("worker").await.unwrap();
    assert_ne!(after.metadata.generation, before.metadata.generation);
    assert!(
        replicas(&after, "/spec/replicas") >= replicas(&before, "/spec/replicas"),
        "they are the autoscaler's: {:?}",
        after.data
    );
}

pub async fn a_request_wakes_what_sleeps() {
    let place = Place::new("http").await;
    let mut clock = StepTimer::start("keda::a_request_wakes_what_sleeps");
    place
        .apply(
            "ElpioService",
            "api",
            &with(
                &image("api", "v1"),
                &json!({"engine": "keda", "scaling": {"metric": "concurrency", "target": 5}}),
            ),
        )
        .await;
    let ready = place.ready("api").await;
    clock.step("the service is ready");
    assert_eq!(kinds(&ready), ["Deployment", "Service", "HTTPScaledObject"]);
    let http = place.any("http.keda.sh/v1alpha1", "HTTPScaledObject").get("api").await.unwrap();
    assert_eq!(said_by_engine(&http, "Ready")["status"], "True", "{:?}", http.data);
    let metric = autoscaler(&place, "api").await;
    assert_eq!(metric["type"], "External", "{metric}");
    clock.step("KEDA has made its autoscaler");
    place
        .object(&place.deployments(), "api", "scaled to zero", |it| {
            it.data.pointer("/spec/replicas") == Some(&json!(0)) && replicas(it, "/status/replicas") == 0
        })
        .await;
    clock.step("nobody asked, and KEDA took the last replica");
    let asleep = place.ready("api").await;
    let said = place.condition("api", "Ready", |it| it.status == "True").await.message;

    // As its status says it is called.
    let host = format!("api.{}.svc", place.namespace);
    let address = asleep.status.unwrap().address.unwrap();
    assert!(said.contains(&format!("call {address} with Host: {host}")), "{said}");
    let answer = request(address.trim_start_matches("http://"), &host).await;
    clock.step("a request through the interceptor was answered");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(pods::RESPONSE_BODY), "{answer}");
    place
        .object(&place.deployments(), "api", "awake", |it| replicas(it, "/status/availableReplicas") >= 1)
        .await;
    place.ready("api").await;

    place.services().delete("api", &DeleteParams::default()).await.unwrap();
    let made = [
        ("http.keda.sh/v1alpha1", "HTTPScaledObject"),
        ("keda.sh/v1alpha1", "ScaledObject"),
        ("autoscaling/v2", "HorizontalPodAutoscaler"),
        ("apps/v1", "Deployment"),
        ("v1", "Service"),
        ("v1", "Pod"),
    ];
    place.none_left(&made).await;
    clock.step("deleted, and nothing is left");
}

async fn request(address: &str, host: &str) -> String {
    eventually("an answer", BOUND, async || {
        let mut stream = TcpStream::connect(address).await?;
        stream
            .write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        // The interceptor hears of a new host a moment after its operator.
        if answer.starts_with("HTTP/1.1 404") { Err(std::io::Error::other(answer)) } else { Ok(answer) }
    })
    .await
}
