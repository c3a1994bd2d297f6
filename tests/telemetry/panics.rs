//! A reconcile that fails, panics or sees a failure: in every signal.

use elpio_operator::telemetry::{ErrorType, ReconcileReport, RolloutSeed, SpanParent};
use opentelemetry::{Value, trace::Status};

use super::harness::{attributes, harness, named, wrote};

fn panics() -> ReconcileReport {
    panic!("index out of bounds")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_a_failed_reconcile_in_every_signal() {
    let harness = harness();
    let panicked =
        harness.try_reconcile(SpanParent::AfterRollout(None), async { panics() }).await.unwrap_err();
    assert_eq!(panicked.to_string(), "the reconcile panicked: index out of bounds");
    for (series, value) in [
        ("elpio_reconcile_total{kind=\"ElpioService\",result=\"error\"}", 1.0),
        ("elpio_reconcile_errors_total{error_type=\"internal\",kind=\"ElpioService\"}", 1.0),
        ("elpio_reconcile_active{kind=\"ElpioService\"}", 0.0),
        ("elpio_reconcile_duration_seconds_count{kind=\"ElpioService\"}", 1.0),
    ] {
        assert_eq!(harness.value(series), Some(value), "{series}");
    }
    let spans = harness.spans();
    let span = named(&spans, "reconcile ElpioService");
    assert_eq!(span.status, Status::error("the reconcile panicked: index out of bounds"));
    let found = attributes(span);
    assert_eq!(
        (found.get("error.type"), found.get("elpio.outcome")),
        (Some(&Value::from("internal")), Some(&Value::from("failed")))
    );
    let lines = harness.lines.json();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(
        (lines[0]["level"].as_str(), lines[0]["error"].as_str(), lines[0]["trace_id"].as_str()),
        (
            Some("ERROR"),
            Some("the reconcile panicked: index out of bounds"),
            Some(span.span_context.trace_id().to_string().as_str())
        )
    );
    let exceptions = harness.exceptions();
    assert_eq!(exceptions.len(), 1, "{exceptions:?}");
    assert_eq!(exceptions[0].1["exception.type"], "internal");
    // The next reconcile is none the worse.
    harness.reconcile(SpanParent::AfterRollout(None), async { wrote() }).await;
    let ok = harness.value("elpio_reconcile_total{kind=\"ElpioService\",result=\"success\"}");
    assert_eq!(ok, Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_is_seen_first_is_an_error_and_a_warning_and_no_failed_reconcile() {
    let harness = harness();
    let rollout =
        harness.telemetry.traces().begin_rollout(&RolloutSeed { uid: "u", ..RolloutSeed::default() });
    let not_ready = |warning_event| ReconcileReport {
        ready_reason: Some("RevisionFailed".into()),
        ready_message: Some("container exited with 1".into()),
        warning_event,
        ..wrote()
    };
    for warning_event in [Some("Progressing"), None] {
        harness.reconcile(SpanParent::InRollout(rollout.clone()), async { not_ready(warning_event) }).await;
    }
    let spans = harness.spans();
    let statuses: Vec<_> = spans.iter().map(|span| span.status.clone()).collect();
    assert_eq!(statuses, [Status::error("RevisionFailed: container exited with 1"), Status::Unset]);
    for span in &spans {
        let found = attributes(span);
        assert_eq!(found.get("elpio.ready.reason"), Some(&Value::from("RevisionFailed")));
        assert_eq!(found.get("elpio.ready.message"), Some(&Value::from("container exited with 1")));
    }
    let lines = harness.lines.json();
    let levels: Vec<_> = lines.iter().map(|line| line["level"].as_str().unwrap()).collect();
    assert_eq!(levels, ["WARN", "INFO"]);
    assert_eq!(
        (&lines[0]["reason"], &lines[0]["error"]),
        (&"RevisionFailed".into(), &"container exited with 1".into())
    );
    assert_eq!(lines[0]["event"], "Progressing");
    assert_eq!(lines[0]["trace_id"], rollout.ids().unwrap().trace_id());
    let errors: f64 = ErrorType::ALL
        .iter()
        .filter_map(|class| {
            harness.value(&format!(
                "elpio_reconcile_errors_total{{error_type=\"{class}\",kind=\"ElpioService\"}}"
            ))
        })
        .sum();
    assert!(errors.abs() < f64::EPSILON, "the operator did its work");
}
