//! What fails, from each signal alone: the Event, the log line and the span of the reconcile that saw it first
//! name the cause, and share one trace.

use elpio_cluster::{FakeStatus, Webhook, eventually, webhook::Rule};
use elpio_operator::api::annotation;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::{
    function_stage::{Functions, spec},
    stage::{SOON, Stage, image},
};

const CRASH: &str = "Container failed with: the program ended.";

/// The trace of the Event, whose note names the cause.
fn trace_of(event: &Event, cause: &str) -> String {
    let note = event.note.clone().unwrap_or_default();
    assert!(note.contains(cause), "the Event does not name it: {note}");
    event.annotations()[annotation::TRACE_ID].clone()
}

/// The line at WARN that names the object and the cause.
async fn line(stage: &Stage, name: &str, reason: &str, cause: &str) -> Value {
    let names = |line: &Value| {
        let is_of_event = line["event"] == reason || line["message"] == "reconcile failed";
        let error = line["error"].as_str().unwrap_or_default();
        line["level"] == "WARN" && line["name"] == name && is_of_event && error.contains(cause)
    };
    eventually(&format!("a line at WARN names {cause:?}"), SOON, async || {
        let log = stage.operator.log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str(line).ok());
        lines.find(names).ok_or_else(|| stage.operator.log_tail())
    })
    .await
}

/// Each of the three names the cause; none is needed to read another.
async fn every_signal_names(stage: &Stage, kind: &str, name: &str, reason: &str, cause: &str) {
    let event = stage.event(name, "Warning", reason).await;
    let trace = trace_of(&event, cause);
    let line = line(stage, name, reason, cause).await;
    let span = stage
        .otlp
        .wait_for_span(&format!("the reconcile of {line}"), SOON, |span| line["span_id"] == span.span_id)
        .await;
    let is_error = span.status == "error" && span.status_message.contains(cause);
    assert!(is_error && span.name == format!("reconcile {kind}"), "{span:?}");
    assert_eq!(span.attribute("k8s.object.name"), name);
    assert_eq!((line["trace_id"].as_str(), &span.trace_id), (Some(trace.as_str()), &trace), "{line}");
    eprintln!("{kind}: {reason}: {cause:?} stands in the Event, the line and the span of trace {trace}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashing_revision() {
    let stage = Stage::new("cause-crash").await;
    let failed = FakeStatus::NotReady { reason: "RevisionFailed".to_owned(), message: CRASH.to_owned() };
    stage.engine.set_status("Service", "web", failed);
    stage.apply("web", &image("v1")).await;
    stage.condition("web", "Ready", "False", "RevisionFailed").await;
    every_signal_names(&stage, "ElpioService", "web", "Progressing", CRASH).await;
    let waiting = stage
        .otlp
        .wait_for_span("its reason as an attribute", SOON, |span| {
            span.attribute("elpio.ready.reason") == "RevisionFailed"
        })
        .await;
    assert!(waiting.attribute("elpio.ready.message").contains(CRASH), "{waiting:?}");
    assert_eq!(
        stage.counted("elpio_reconcile_total", &[("kind", "ElpioService"), ("result", "error")]).await,
        0.0,
        "the operator did its work"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_build() {
    const CAUSE: &str = "no buildpack groups passed detection";
    let functions = Functions::new("cause-build").await;
    functions.apply(&spec("v1"), &json!({})).await;
    let run = functions.run().await;
    functions.end(&run.name_any(), "False", "Failed", CAUSE, "").await;
    functions.phase("BuildFailed").await;
    every_signal_names(&functions.stage, "ElpioFunction", "hello", "BuildFailed", CAUSE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_child() {
    const CAUSE: &str = "no images from registry.local";
    let stage = Stage::new("cause-refused").await;
    let webhook = Webhook::start(stage.client.clone(), &stage.namespace).await;
    webhook.add(Rule::refuse("services.serving.knative.dev", 422, CAUSE));
    stage.apply("web", &image("v1")).await;
    every_signal_names(&stage, "ElpioService", "web", "ReconcileFailed", CAUSE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_past_its_deadline() {
    let stage = Stage::with("cause-deadline", &[("ELPIO_ROLLOUT_DEADLINE", "2s")]).await;
    stage.engine.hold();
    stage.apply("web", &image("v1")).await;
    let waiting = stage.condition("web", "Ready", "False", "Progressing").await.message;
    every_signal_names(&stage, "ElpioService", "web", "RolloutTimedOut", &waiting).await;
}
