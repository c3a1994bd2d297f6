//! Reconciles after a rollout: told of when there is something to tell, and ids never point to what was not
//! exported.

use elpio_operator::{
    api::event::NewEvent,
    telemetry::{ErrorType, ReconcileStep, RolloutSeed, SpanParent, current_ids, step},
};

use super::harness::{failed, harness, harness_with, named, reference, settled, wrote};

#[tokio::test(flavor = "multi_thread")]
async fn a_reconcile_that_writes_nothing_is_not_exported() {
    let harness = harness();
    for _ in 0..3 {
        harness
            .reconcile(SpanParent::AfterRollout(None), async {
                step(ReconcileStep::Observe).in_scope(|| tracing::info!("a line in passing"));
                settled()
            })
            .await;
    }
    assert!(harness.spans().is_empty());
    assert_eq!(
        harness.value("elpio_reconcile_total{kind=\"ElpioService\",result=\"success\"}"),
        Some(3.0),
        "but it is counted"
    );
    assert!(
        harness.lines.json().iter().all(|line| line.get("trace_id").is_none()),
        "{}",
        harness.lines.text()
    );
    assert!(!harness.openmetrics().contains("trace_id"), "no exemplar either");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_writes_fails_or_speaks_is_exported_whole_with_a_link() {
    let harness = harness();
    let rollout = harness.telemetry.traces().begin_rollout(&RolloutSeed {
        uid: "uid-1",
        generation: 7,
        rebuild: "",
        parent: None,
        tracestate: None,
    });
    let ids = rollout.ids().unwrap();
    let location = SpanParent::AfterRollout(Some(rollout));
    let observed = async |report| {
        step(ReconcileStep::Observe).in_scope(|| {});
        report
    };
    harness.reconcile(location.clone(), observed(wrote())).await;
    harness.reconcile(location.clone(), observed(failed(ErrorType::Throttled))).await;
    harness
        .reconcile(location.clone(), async {
            tracing::warn!(target: "elpio_operator::x", "said");
            observed(settled()).await
        })
        .await;
    harness
        .reconcile(location, async {
            assert!(current_ids().is_some());
            observed(settled()).await
        })
        .await;
    let spans = harness.spans();
    assert_eq!(spans.len(), 8, "{spans:?}");
    let roots: Vec<_> = spans.iter().filter(|span| span.name == "reconcile ElpioService").collect();
    assert_eq!(roots.len(), 4);
    for root in roots {
        assert_ne!(root.span_context.trace_id().to_string(), ids.trace_id(), "a trace of its own");
        assert_eq!(root.parent_span_id.to_string(), "0000000000000000");
        assert_eq!(root.links.links.len(), 1);
        assert_eq!(root.links.links[0].span_context.trace_id().to_string(), ids.trace_id());
        assert_eq!(root.links.links[0].span_context.span_id().to_string(), ids.span_id());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_about_a_kept_trace_has_its_ids() {
    let harness = harness();
    harness.reconcile(SpanParent::AfterRollout(None), async { wrote() }).await;
    let spans = harness.spans();
    let root = named(&spans, "reconcile ElpioService");
    let lines = harness.lines.json();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["trace_id"], root.span_context.trace_id().to_string());
    assert_eq!(lines[0]["span_id"], root.span_context.span_id().to_string());
}

fn event() -> NewEvent {
    NewEvent {
        type_: "Warning",
        reason: "ReconcileFailed",
        action: "Apply",
        note: "it failed".into(),
        ..NewEvent::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_makes_its_trace_one_that_is_exported() {
    let harness = harness();
    let traces = harness.telemetry.traces();
    harness
        .reconcile(SpanParent::AfterRollout(None), async {
            traces.emit_event(&reference(), &event());
            settled()
        })
        .await;
    let spans = harness.spans();
    let root = named(&spans, "reconcile ElpioService");
    let records = harness.logs.get_emitted_logs().unwrap();
    let record = &records.iter().find(|log| log.record.event_name() == Some("k8s.event")).unwrap().record;
    let context = record.trace_context().unwrap();
    assert_eq!(
        (context.trace_id, context.span_id),
        (root.span_context.trace_id(), root.span_context.span_id())
    );
    let found: Vec<String> =
        record.attributes_iter().map(|(key, value)| format!("{key}={value:?}")).collect();
    for expected in [
        "k8s.event.reason=String(Static(\"ReconcileFailed\"))",
        "k8s.event.action=String(Static(\"Apply\"))",
        "k8s.object.name=String(Owned(\"cart\"))",
    ] {
        assert!(found.iter().any(|f| f == expected), "{expected} in {found:?}");
    }
    assert_eq!(found.len(), 7, "each once: {found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unsampled_means_no_id_anywhere() {
    for sampler in ["always_off", "parentbased_always_off"] {
        let harness = harness_with(&[("OTEL_TRACES_SAMPLER", sampler)], "info");
        let traces = harness.telemetry.traces();
        let rollout = traces.begin_rollout(&RolloutSeed {
            uid: "uid-1",
            generation: 7,
            rebuild: "",
            parent: None,
            tracestate: None,
        });
        assert_eq!((rollout.ids(), rollout.traceparent()), (None, None));
        for location in [SpanParent::InRollout(rollout.clone()), SpanParent::AfterRollout(Some(rollout))] {
            harness
                .reconcile(location, async {
                    assert_eq!(current_ids(), None);
                    traces.emit_event(&reference(), &event());
                    wrote()
                })
                .await;
        }
        assert!(harness.spans().is_empty());
        for line in harness.lines.json() {
            assert!(line.get("trace_id").is_none() && line.get("span_id").is_none(), "{line}");
            assert_eq!(line["name"], "cart", "it still says what it is about");
        }
        let records = harness.logs.get_emitted_logs().unwrap();
        assert_eq!(records.len(), 4, "two Events and two lines");
        assert!(records.iter().all(|log| log.record.trace_context().is_none()), "{records:?}");
        assert!(!harness.openmetrics().contains("trace_id"));
    }
}
