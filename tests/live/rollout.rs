//! A rollout as a trace, as a receiver of OTLP sees it.

use elpio_cluster::eventually;
use kube::ResourceExt;
use serde_json::json;

use crate::{
    live_env::{LiveEnv, TIMEOUT, image, with},
    span_rows::are_of_the_table,
};

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_from_edit_to_ready() {
    let env = LiveEnv::new("trace-one").await;
    env.apply("web", &image("v1")).await;
    let ready = env.ready("web").await;
    let rollout = ready.status.clone().unwrap().rollout.unwrap();
    let trace = rollout.trace_id.clone().unwrap();
    let root = env
        .otlp
        .wait_for_span("the root", TIMEOUT, |s| s.name == "rollout ElpioService" && s.trace_id == trace)
        .await;
    assert_eq!((root.parent_id.as_str(), root.status), ("", "ok"));
    let nanos = |t: &Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime>| {
        u64::try_from(t.as_ref().unwrap().0.as_microsecond()).unwrap()
    };
    assert_eq!(
        (root.start / 1000, root.end / 1000),
        (nanos(&rollout.started_at), nanos(&rollout.ended_at)),
        "its times are those of the status"
    );
    assert_eq!(root.attribute("k8s.object.uid"), ready.uid().unwrap());
    let spans = eventually("the whole tree", TIMEOUT, async || {
        let spans = env.otlp.trace(&trace);
        let missing: Vec<&str> = ["observe", "validate", "render", "apply KnativeService", "status", "event"]
            .into_iter()
            .filter(|name| !spans.iter().any(|s| s.name == *name))
            .collect();
        // A span is sent when it ends, which may be a batch before the one in which it lies.
        let orphans = spans.iter().filter(|span| {
            span.name != "rollout ElpioService" && !spans.iter().any(|other| other.span_id == span.parent_id)
        });
        let orphans = orphans.count();
        if missing.is_empty() && orphans == 0 {
            Ok(spans)
        } else {
            let tree = elpio_cluster::trace_tree::render(&spans, false);
            Err(format!("no {missing:?}, {orphans} without their parent in\n{tree}"))
        }
    })
    .await;
    are_of_the_table(&spans);
    for span in spans.iter().filter(|span| span.kind == "client") {
        let name = &span.name;
        assert!(
            name.contains("{namespace}") && !name.contains(&env.namespace),
            "{name}: the template, never the path"
        );
    }
    let apply = spans
        .iter()
        .find(|s| s.name == "PATCH /apis/serving.knative.dev/v1/namespaces/{namespace}/services/{name}")
        .expect("the call that made the child");
    assert!(matches!(apply.attribute("http.response.status_code"), "200" | "201"), "{apply:?}");
    let audit = apply
        .attributes
        .iter()
        .find(|(key, _)| key.contains("audit"))
        .map(|(_, id)| id.clone())
        .expect("the Audit-Id");
    assert!(!env.cluster.audit().filter(|e| e.id == audit).is_empty(), "the API server knows {audit}");
    for event in env.events("web").await {
        assert!(event.note.as_ref().unwrap().ends_with(&format!("(trace {trace})")), "{:?}", event.note);
        let reason = event.reason.clone().unwrap();
        let log = env
            .otlp
            .wait_for_log("the Event as a log record", TIMEOUT, |l| {
                l.event_name == "k8s.event"
                    && l.attributes.get("k8s.event.reason") == Some(&reason)
                    && l.trace_id == trace
            })
            .await;
        // The reconcile that ended the rollout may be sent after the root.
        env.otlp
            .wait_for_span("the record's span, in the trace", TIMEOUT, |s| {
                s.trace_id == trace && s.span_id == log.span_id
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_trace_is_joined_once() {
    let env = LiveEnv::new("trace-caller").await;
    let note = json!({"elpio.io/traceparent": CALLER});
    env.try_apply("web", &image("v1"), &note).await.unwrap();
    let first = env.ready("web").await.status.unwrap().rollout.unwrap();
    assert_eq!(
        (first.trace_id.as_deref(), first.parent.as_deref()),
        (Some("0af7651916cd43dd8448eb211c80319c"), Some(CALLER))
    );
    let root = env.otlp.wait_for_span("the root", TIMEOUT, |s| s.name == "rollout ElpioService").await;
    assert_eq!(
        (root.trace_id.as_str(), root.parent_id.as_str()),
        ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    );

    env.try_apply("web", &image("v2"), &note).await.unwrap();
    let second = env
        .service("web", "the second rollout ended", |o| {
            o.metadata.generation == Some(2)
                && o.status
                    .as_ref()
                    .and_then(|s| s.rollout.as_ref())
                    .is_some_and(|r| r.generation == 2 && r.ended_at.is_some())
        })
        .await;
    let second = second.status.unwrap().rollout.unwrap();
    assert_ne!(
        second.trace_id.as_deref(),
        Some("0af7651916cd43dd8448eb211c80319c"),
        "a later edit is not that caller's doing"
    );
    let root = env
        .otlp
        .wait_for_span("the second root", TIMEOUT, |s| {
            s.name == "rollout ElpioService" && Some(&s.trace_id) == second.trace_id.as_ref()
        })
        .await;
    assert_eq!(root.links, [("0af7651916cd43dd8448eb211c80319c".to_owned(), "b7ad6b7169203331".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_supersedes_and_a_deletion_ends() {
    let env = LiveEnv::new("trace-ends").await;
    env.engine.hold();
    env.apply("web", &image("v1")).await;
    env.condition("web", "Ready", "False", "Progressing").await;
    env.apply("web", &image("v2")).await;
    env.condition("web", "Ready", "False", "Progressing").await;
    let root = env.otlp.wait_for_span("the first root", TIMEOUT, |s| s.name == "rollout ElpioService").await;
    assert_eq!((root.attribute("elpio.outcome"), root.attribute("elpio.generation")), ("superseded", "1"));
    env.services().delete("web", &kube::api::DeleteParams::default()).await.unwrap();
    env.otlp
        .wait_for_span("the second root", TIMEOUT, |s| {
            s.name == "rollout ElpioService" && s.attribute("elpio.outcome") == "deleted"
        })
        .await;
    env.wait_for_metric("elpio_rollout_duration_seconds_count", &[("outcome", "superseded")], 1.0).await;
    env.wait_for_metric("elpio_rollout_duration_seconds_count", &[("outcome", "deleted")], 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_is_late_ends_in_error_and_the_object_is_not_given_up() {
    let env = LiveEnv::with("trace-late", &[("ELPIO_ROLLOUT_DEADLINE", "2s")]).await;
    env.engine.hold();
    env.apply("web", &image("v1")).await;
    let root = env.otlp.wait_for_span("the root", TIMEOUT, |s| s.name == "rollout ElpioService").await;
    assert_eq!((root.status, root.attribute("elpio.outcome")), ("error", "timed_out"));
    assert!(root.status_message.contains("Progressing"), "{}", root.status_message);
    assert_eq!(root.duration().as_secs(), 2);
    let trace = root.trace_id.clone();
    env.engine.release();
    env.ready("web").await;
    let late = env
        .otlp
        .wait_for_span("the reconcile that made it ready", TIMEOUT, |s| {
            s.name == "reconcile ElpioService" && s.trace_id != trace
        })
        .await;
    assert_eq!(
        late.links.first().map(|(trace, _)| trace.clone()),
        Some(trace),
        "a trace of its own, with a link"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_sampling_there_is_no_id_anywhere() {
    for (name, environment) in [
        ("trace-off", [("OTEL_TRACES_SAMPLER", "always_off")]),
        ("trace-none", [("OTEL_TRACES_EXPORTER", "none")]),
    ] {
        let env = LiveEnv::with(name, &environment).await;
        env.apply("web", &image("v1")).await;
        let rollout = env.ready("web").await.status.unwrap().rollout.unwrap();
        assert_eq!((rollout.trace_id, rollout.traceparent), (None, None));
        assert!(rollout.ended_at.is_some());
        for event in env.events("web").await {
            assert!(!event.note.as_ref().unwrap().contains("(trace "), "{:?}", event.note);
            assert_eq!(event.metadata.annotations, None);
        }
        let log = env.operator.log();
        assert!(!log.contains("trace_id"), "{log}");
        let page = env.operator.metrics("application/openmetrics-text").await;
        assert!(!page.contains("trace_id"), "{page}");
        assert!(env.otlp.spans().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settled_operator_makes_no_spans() {
    let env = LiveEnv::new("trace-quiet").await;
    env.apply("web", &image("v1")).await;
    env.ready("web").await;
    env.wait_until_idle().await;
    let trace = env.services().get("web").await.unwrap().status.unwrap().rollout.unwrap().trace_id.unwrap();
    let turns = env.counted("elpio_reconcile_total", &[("result", "success")]).await;
    let note = json!({"metadata": {"annotations": {"elpio.io/rebuild": "1"}}});
    env.services()
        .patch("web", &kube::api::PatchParams::default(), &kube::api::Patch::Merge(note))
        .await
        .unwrap();
    eventually("it has looked", TIMEOUT, async || {
        let now = env.counted("elpio_reconcile_total", &[("result", "success")]).await;
        if now > turns { Ok(()) } else { Err(now.to_string()) }
    })
    .await;
    // The next rollout's spans come after whatever that look would have sent.
    env.apply("web", &with(image("v2"), &json!({}))).await;
    env.otlp
        .wait_for_span("the next root", TIMEOUT, |s| s.name == "rollout ElpioService" && s.trace_id != trace)
        .await;
    let strangers: Vec<_> = env
        .otlp
        .spans()
        .into_iter()
        .filter(|s| s.name == "reconcile ElpioService" && !s.links.is_empty())
        .collect();
    assert!(strangers.is_empty(), "{strangers:?}");
}
