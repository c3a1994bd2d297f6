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

use crate::environment::{Environment, TIMEOUT, engine_condition, image, notes, with};

fn replicas(deployment: &DynamicObject, of: &str) -> i64 {
    deployment.data.pointer(of).and_then(Value::as_i64).unwrap_or_default()
}

fn kinds(service: &elpio_operator::api::ElpioService) -> Vec<String> {
    service.status.as_ref().unwrap().children.iter().map(|child| child.kind.clone()).collect()
}

/// The autoscaler that KEDA made, and by what it scales.
async fn autoscaler(environment: &Environment, name: &str) -> Value {
    let scaled = environment.scaled_objects();
    let scaled = environment
        .object(&scaled, name, "ready, says KEDA", |it| engine_condition(it, "Ready")["status"] == "True")
        .await;
    let hpa =
        scaled.data.pointer("/status/hpaName").and_then(Value::as_str).expect("KEDA names its autoscaler");
    let hpas = environment.any("autoscaling/v2", "HorizontalPodAutoscaler");
    environment.object(&hpas, hpa, "made by KEDA", |_| true).await.data["spec"]["metrics"][0].clone()
}

pub async fn load_scales_and_nobody_fights_it() {
    let environment = Environment::new("cpu").await;
    let mut clock = StepTimer::start("keda::load_scales_and_nobody_fights_it");
    let scaling = json!({"engine": "keda", "scaling": {"metric": "cpu", "target": 50, "maxScale": 4}, "resources": {"requests": {"cpu": "100m"}}});
    environment.apply("ElpioService", "worker", &with(&image("worker", "v1"), &scaling)).await;
    let ready = environment.ready("worker").await;
    clock.step("the service is ready");
    assert_eq!(kinds(&ready), ["Deployment", "Service", "ScaledObject"]);
    let metric = autoscaler(&environment, "worker").await;
    assert_eq!(
        (&metric["resource"]["name"], &metric["resource"]["target"]["averageUtilization"]),
        (&json!("cpu"), &json!(50)),
        "{metric}"
    );
    clock.step("KEDA has made its autoscaler");

    let mark = environment.env.cluster.audit_offset();
    let pods: Api<Pod> = Api::namespaced(environment.client.clone(), &environment.namespace);
    let pod = pods.list(&ListParams::default().labels("elpio.io/service=worker")).await.unwrap().items[0]
        .name_any();
    let load = Patch::Merge(json!({"metadata": {"annotations": {"kwok.x-k8s.io/usage-cpu": "150m"}}}));
    pods.patch(&pod, &PatchParams::default(), &load).await.unwrap();
    // Three times what one replica should use; while the node reports the step up, it looks like more.
    let available = |it: &DynamicObject| replicas(it, "/status/availableReplicas");
    let scaled = |it: &DynamicObject| {
        (3..=4).contains(&replicas(it, "/spec/replicas")) && available(it) == replicas(it, "/spec/replicas")
    };
    environment.object(&environment.deployments(), "worker", "3 or 4 replicas", scaled).await;
    clock.step("scaled by what metrics-server measured");
    environment.ready("worker").await;
    // What an engine scales is no drift.
    let written = environment
        .requests_since(mark)
        .writes()
        .filter(|entry| !entry.summary().contains("status") && !entry.summary().contains("events"));
    assert!(written.is_empty(), "{:?}", written.count());
    // Nor is it news: it served all the while.
    let events = environment.events("ElpioService", "worker").await;
    let reported: Vec<_> = events.iter().filter_map(|event| event.reason.as_deref()).collect();
    assert_eq!(reported, ["Reconciled", "Progressing", "Ready"], "{}", notes(&events));
    assert!(events.iter().all(|event| event.series.is_none()), "{}", notes(&events));

    let before = environment.deployments().get("worker").await.unwrap();
    environment.apply("ElpioService", "worker", &with(&image("worker", "v2"), &scaling)).await;
    environment.ready("worker").await;
    clock.step("another image at this scale");
    let after = environment.deployments().get("worker").await.unwrap();
    assert_ne!(after.metadata.generation, before.metadata.generation);
    assert!(
        replicas(&after, "/spec/replicas") >= replicas(&before, "/spec/replicas"),
        "they are the autoscaler's: {:?}",
        after.data
    );
}

pub async fn a_request_wakes_what_sleeps() {
    let environment = Environment::new("http").await;
    let mut clock = StepTimer::start("keda::a_request_wakes_what_sleeps");
    environment
        .apply(
            "ElpioService",
            "api",
            &with(
                &image("api", "v1"),
                &json!({"engine": "keda", "scaling": {"metric": "concurrency", "target": 5}}),
            ),
        )
        .await;
    let ready = environment.ready("api").await;
    clock.step("the service is ready");
    assert_eq!(kinds(&ready), ["Deployment", "Service", "HTTPScaledObject"]);
    let http = environment.any("http.keda.sh/v1alpha1", "HTTPScaledObject").get("api").await.unwrap();
    assert_eq!(engine_condition(&http, "Ready")["status"], "True", "{:?}", http.data);
    let metric = autoscaler(&environment, "api").await;
    assert_eq!(metric["type"], "External", "{metric}");
    clock.step("KEDA has made its autoscaler");
    environment
        .object(&environment.deployments(), "api", "scaled to zero", |it| {
            it.data.pointer("/spec/replicas") == Some(&json!(0)) && replicas(it, "/status/replicas") == 0
        })
        .await;
    clock.step("nobody asked, and KEDA took the last replica");
    let asleep = environment.ready("api").await;
    let reported = environment.condition("api", "Ready", |it| it.status == "True").await.message;

    // As its status says it is called.
    let host = format!("api.{}.svc", environment.namespace);
    let address = asleep.status.unwrap().address.unwrap();
    assert!(
        reported.contains(&format!("in the cluster: {address} (send the header Host: {host})")),
        "{reported}"
    );
    let answer = request(address.trim_start_matches("http://"), &host).await;
    clock.step("a request through the interceptor was answered");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(pods::RESPONSE_BODY), "{answer}");
    environment
        .object(&environment.deployments(), "api", "awake", |it| {
            replicas(it, "/status/availableReplicas") >= 1
        })
        .await;
    environment.ready("api").await;

    environment.services().delete("api", &DeleteParams::default()).await.unwrap();
    let made = [
        ("http.keda.sh/v1alpha1", "HTTPScaledObject"),
        ("keda.sh/v1alpha1", "ScaledObject"),
        ("autoscaling/v2", "HorizontalPodAutoscaler"),
        ("apps/v1", "Deployment"),
        ("v1", "Service"),
        ("v1", "Pod"),
    ];
    environment.none_left(&made).await;
    clock.step("deleted, and nothing is left");
}

pub async fn request(address: &str, host: &str) -> String {
    eventually("an answer", TIMEOUT, async || {
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
