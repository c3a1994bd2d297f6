//! What fails, from each signal alone: `kubectl describe`, the log and a search in Jaeger name the cause, and lead
//! to one trace.

use std::{sync::LazyLock, time::Duration};

use elpio_cluster::{
    FakeStatus, Jaeger, Webhook,
    components::clients::{ClientProgram, KUBECTL},
    eventually,
    otlp::Span,
    process::TempDir,
    webhook::Rule,
};
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::{
    function_env::{Functions, spec},
    live_env::{LiveEnv, TIMEOUT, image},
};

const CRASH: &str = "Container failed with: the program ended.";
/// Between the line of the log and the end of the reconcile's span.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Traces alone go to Jaeger: it is read as its users read it.
async fn env(name: &str, extra: &[(&str, &str)]) -> (LiveEnv, &'static Jaeger) {
    static JAEGER: OnceCell<Jaeger> = OnceCell::const_new();
    let jaeger = JAEGER.get_or_init(Jaeger::start).await;
    let endpoint = format!("http://{}", jaeger.otlp());
    let extra = [&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint.as_str())], extra].concat();
    (LiveEnv::with(name, &extra).await, jaeger)
}

/// The trace that `kubectl describe` names in the line of a Warning with that cause.
async fn described(env: &LiveEnv, kind: &str, name: &str, reason: &str, cause: &str) -> String {
    static HOME: LazyLock<TempDir> = LazyLock::new(|| TempDir::new("describe"));
    let (kubeconfig, namespace) = (env.cluster.kubeconfig(), &env.namespace);
    let kubectl = tokio::task::spawn_blocking(|| ClientProgram::new(KUBECTL, HOME.path()).unwrap());
    let kubectl = kubectl.await.unwrap().with_kubeconfig(&kubeconfig);
    eventually(&format!("kubectl describe names {cause:?}"), TIMEOUT, async || {
        let kind = kind.to_lowercase();
        let text =
            tokio::task::block_in_place(|| kubectl.output(&["describe", &kind, name, "-n", namespace], ""));
        let is_its = |line: &&str| {
            line.trim_start().starts_with(&format!("Warning  {reason} ")) && line.contains(cause)
        };
        let line = text.lines().find(is_its).ok_or_else(|| text.clone())?;
        let trace = line.rsplit_once("(trace ").and_then(|(_, rest)| rest.split_once(')'));
        Ok::<_, String>(trace.ok_or(line)?.0.to_owned())
    })
    .await
}

/// The line at WARN that names the object and the cause.
async fn logged(env: &LiveEnv, name: &str, reason: &str, cause: &str) -> Value {
    let names = |line: &Value| {
        let is_of_event = line["event"] == reason || line["message"] == "reconcile failed";
        let error = line["error"].as_str().unwrap_or_default();
        line["level"] == "WARN" && line["name"] == name && is_of_event && error.contains(cause)
    };
    eventually(&format!("a line at WARN names {cause:?}"), TIMEOUT, async || {
        let log = env.operator.log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str(line).ok());
        lines.find(names).ok_or_else(|| env.operator.log_tail())
    })
    .await
}

/// The first reconcile of the object that a search for errors shows, with its cause.
async fn searched(jaeger: &Jaeger, env: &LiveEnv, kind: &str, name: &str, cause: &str) -> Span {
    let tags = [("error", "true"), ("k8s.namespace.name", env.namespace.as_str()), ("k8s.object.name", name)];
    eventually(&format!("a search in Jaeger shows {cause:?}"), TIMEOUT, async || {
        let spans = jaeger.find("elpio-operator", &tags).await;
        let is_its =
            |span: &&Span| span.name == format!("reconcile {kind}") && span.status_message.contains(cause);
        spans.iter().find(is_its).cloned().ok_or_else(|| format!("{spans:?}"))
    })
    .await
}

/// Each of the three names the cause; none is needed to read another.
async fn every_signal_names(
    (env, jaeger): (&LiveEnv, &Jaeger),
    kind: &str,
    name: &str,
    reason: &str,
    cause: &str,
) {
    let trace = described(env, kind, name, reason, cause).await;
    let line = logged(env, name, reason, cause).await;
    let span = searched(jaeger, env, kind, name, cause).await;
    assert_eq!((line["trace_id"].as_str(), &span.trace_id), (Some(trace.as_str()), &trace), "{line}");
    assert_eq!(line["span_id"], span.span_id, "the span that first saw it: {line} {span:?}");
    let at: Timestamp = line["timestamp"].as_str().unwrap().parse().unwrap();
    let apart =
        Duration::from_nanos(span.end).abs_diff(at.duration_since(Timestamp::UNIX_EPOCH).unsigned_abs());
    assert!(apart < AT_ONCE, "{apart:?} between {line} and {span:?}");
    eprintln!("{kind}: {reason}: {cause:?} in kubectl describe, in the log, in Jaeger: trace {trace}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashing_revision() {
    let (env, jaeger) = env("cause-crash", &[]).await;
    let failed = FakeStatus::NotReady { reason: "RevisionFailed".to_owned(), message: CRASH.to_owned() };
    env.engine.set_status("Service", "web", failed);
    env.apply("web", &image("v1")).await;
    env.condition("web", "Ready", "False", "RevisionFailed").await;
    every_signal_names((&env, jaeger), "ElpioService", "web", "Progressing", CRASH).await;
    let waiting = jaeger.find("elpio-operator", &[("elpio.ready.reason", "RevisionFailed")]).await;
    assert!(waiting[0].attribute("elpio.ready.message").contains(CRASH), "{waiting:?}");
    assert_eq!(
        env.counted("elpio_reconcile_total", &[("kind", "ElpioService"), ("result", "error")]).await,
        0.0,
        "the operator did its work"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_build() {
    const CAUSE: &str = "no buildpack groups passed detection";
    let (env, jaeger) = env("cause-build", &[]).await;
    let functions = Functions::on(env);
    functions.apply(&spec("v1"), &json!({})).await;
    let run = functions.run().await;
    functions.end(&run.name_any(), "False", "Failed", CAUSE, "").await;
    functions.phase("BuildFailed").await;
    every_signal_names((&functions.env, jaeger), "ElpioFunction", "hello", "BuildFailed", CAUSE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_child() {
    const CAUSE: &str = "no images from registry.local";
    let (env, jaeger) = env("cause-refused", &[]).await;
    let webhook = Webhook::start(env.client.clone(), &env.namespace).await;
    webhook.add(Rule::refuse("services.serving.knative.dev", 422, CAUSE));
    env.apply("web", &image("v1")).await;
    every_signal_names((&env, jaeger), "ElpioService", "web", "ReconcileFailed", CAUSE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_past_its_deadline() {
    let (env, jaeger) = env("cause-deadline", &[("ELPIO_ROLLOUT_DEADLINE", "2s")]).await;
    env.engine.hold();
    env.apply("web", &image("v1")).await;
    let waiting = env.condition("web", "Ready", "False", "Progressing").await.message;
    every_signal_names((&env, jaeger), "ElpioService", "web", "RolloutTimedOut", &waiting).await;
}
