//! The span tree of a reconcile.

use elpio_operator::{
    foreign::ChildKind,
    telemetry::{
        ChildStep, ErrorType, ReconcileStep, RolloutSeed, SpanParent, current_ids, fail_step, step, step_for,
    },
};
use opentelemetry::{
    Value,
    trace::{SpanKind, Status},
};
use tracing::Instrument;

use super::harness::{attributes, failed, harness, harness_with, named, settled, wrote};

const SEED: RolloutSeed<'_> =
    RolloutSeed { uid: "uid-1", generation: 7, rebuild: "", parent: None, tracestate: None };

#[tokio::test(flavor = "multi_thread")]
async fn a_reconcile_in_a_rollout_is_a_child_of_its_root_and_steps_are_children_of_the_reconcile() {
    let harness = harness();
    let rollout = harness.telemetry.traces().begin_rollout(&SEED);
    harness
        .reconcile(SpanParent::InRollout(rollout.clone()), async {
            step(ReconcileStep::Observe).in_scope(|| {});
            async {}.instrument(step_for(ChildStep::Apply, ChildKind::Service)).await;
            wrote()
        })
        .await;
    let spans = harness.spans();
    let reconcile = named(&spans, "reconcile ElpioService");
    let ids = rollout.ids().expect("sampled");
    assert_eq!(reconcile.span_context.trace_id().to_string(), ids.trace_id());
    assert_eq!(reconcile.parent_span_id.to_string(), ids.span_id());
    assert!(reconcile.parent_span_is_remote);
    assert_eq!((reconcile.span_kind.clone(), reconcile.status.clone()), (SpanKind::Internal, Status::Unset));
    let found = attributes(reconcile);
    for (key, value) in [
        ("k8s.namespace.name", "shop"),
        ("k8s.object.kind", "ElpioService"),
        ("k8s.object.name", "cart"),
        ("k8s.object.uid", "uid-1"),
        ("k8s.object.api_version", "elpio.io/v1alpha1"),
        ("elpio.trigger", "spec"),
        ("elpio.engine", "knative"),
        ("elpio.outcome", "waiting"),
    ] {
        assert_eq!(found.get(key), Some(&Value::from(value)), "{key} of {found:?}");
    }
    assert_eq!(
        (found.get("elpio.generation"), found.get("elpio.attempt")),
        (Some(&Value::I64(7)), Some(&Value::I64(2)))
    );
    for step in ["observe", "apply Service"] {
        let step = named(&spans, step);
        assert_eq!(step.parent_span_id, reconcile.span_context.span_id(), "{}", step.name);
        assert_eq!(step.span_context.trace_id(), reconcile.span_context.trace_id());
    }
    assert_eq!(attributes(named(&spans, "apply Service")).get("elpio.child"), Some(&Value::from("Service")));
    assert_eq!(spans.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_sets_status_and_class_and_is_a_log_record_of_its_span() {
    let harness = harness();
    harness
        .reconcile(SpanParent::AfterRollout(None), async {
            let step = step_for(ChildStep::Apply, ChildKind::Service);
            fail_step(&step, ErrorType::Rejected, "no");
            failed(ErrorType::Rejected)
        })
        .await;
    let (spans, exceptions) = (harness.spans(), harness.exceptions());
    for (name, description, message) in [
        (
            "reconcile ElpioService",
            "apply Service: the API server said no: quota",
            "apply Service: the API server said no: quota",
        ),
        ("apply Service", "no", "no"),
    ] {
        let span = named(&spans, name);
        assert_eq!(span.status, Status::error(description), "{name}");
        assert_eq!(attributes(span).get("error.type"), Some(&Value::from("rejected")));
        assert!(span.events.events.is_empty(), "{name}: {:?}", span.events);
        let id = span.span_context.span_id().to_string();
        let found: Vec<_> = exceptions.iter().filter(|(of_span, _)| *of_span == id).collect();
        assert_eq!(found.len(), 1, "{name}: {exceptions:?}");
        assert_eq!(
            (found[0].1["exception.type"].as_str(), found[0].1["exception.message"].as_str()),
            ("rejected", message),
            "{name}"
        );
    }
    assert_eq!(
        harness.lines.json().len(),
        1,
        "on stderr the line of the reconcile alone: {}",
        harness.lines.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_a_reconcile_there_are_no_spans() {
    let harness = harness();
    tracing::dispatcher::with_default(&harness.dispatch, || {
        assert!(step(ReconcileStep::Observe).is_none());
        assert!(step_for(ChildStep::Apply, ChildKind::Service).is_none());
        assert_eq!(current_ids(), None);
        tracing::info_span!("somebody's span").in_scope(|| {});
    });
    assert!(harness.spans().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn log_settings_change_no_span() {
    for filter in ["off", "error", "trace"] {
        let harness = harness_with(&[], filter);
        let rollout = harness.telemetry.traces().begin_rollout(&SEED);
        harness
            .reconcile(SpanParent::InRollout(rollout), async {
                step(ReconcileStep::Observe).in_scope(|| tracing::debug!("looked"));
                settled()
            })
            .await;
        // The same, where a debug line could make a quiet trace be kept.
        harness
            .reconcile(SpanParent::AfterRollout(None), async {
                step(ReconcileStep::Observe).in_scope(|| tracing::debug!("looked"));
                settled()
            })
            .await;
        let spans = harness.spans();
        let names: Vec<_> = spans.iter().map(|span| span.name.as_ref()).collect();
        assert_eq!(names, ["observe", "reconcile ElpioService"], "{filter}");
        assert!(spans.iter().all(|span| span.events.events.is_empty()), "log lines are not span events");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_values_are_cut_where_asked() {
    let harness = harness_with(&[("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "4")], "info");
    harness.reconcile(SpanParent::AfterRollout(None), async { failed(ErrorType::Internal) }).await;
    let spans = harness.spans_as_cut();
    let span = named(&spans, "reconcile ElpioService");
    assert_eq!(attributes(span).get("k8s.object.kind"), Some(&Value::from("Elpi")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconcile_that_is_cancelled_leaves_nothing_active() {
    let harness = harness();
    let mut never = Box::pin(harness.reconcile(SpanParent::AfterRollout(None), std::future::pending()));
    assert!(futures::poll!(never.as_mut()).is_pending());
    assert_eq!(harness.value("elpio_reconcile_active{kind=\"ElpioService\"}"), Some(1.0));
    drop(never);
    assert_eq!(harness.value("elpio_reconcile_active{kind=\"ElpioService\"}"), Some(0.0));
    assert_eq!(
        harness.value("elpio_reconcile_triggers_total{kind=\"ElpioService\",trigger=\"spec\"}"),
        Some(1.0)
    );
    assert_eq!(harness.value("elpio_reconcile_total{kind=\"ElpioService\",result=\"success\"}"), Some(0.0));
}
