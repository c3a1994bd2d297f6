//! The page as OpenMetrics.

use std::time::Duration;

use elpio_operator::{
    api::{Engine, RolloutOutcome, TraceParent},
    telemetry::{Kind, SpanIds},
};

use super::metrics::used;

#[tokio::test(flavor = "multi_thread")]
async fn openmetrics_has_exemplars_of_sampled_spans_and_its_own_shape() {
    let harness = used().await;
    let parent: TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
    let ids = SpanIds::from(parent);
    harness.telemetry.metrics().rollout_ended(
        Kind::ElpioService,
        Some(Engine::Knative),
        RolloutOutcome::Ready,
        Duration::from_millis(2_750),
        Some(&ids),
    );
    let text = harness.openmetrics();
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert_eq!(text.matches("# EOF").count(), 1);
    let bucket = "elpio_rollout_duration_seconds_bucket{engine=\"knative\",kind=\"ElpioService\",outcome=\"ready\",le=\"5.0\"} 2 # \
                  {trace_id=\"0af7651916cd43dd8448eb211c80319c\",span_id=\"b7ad6b7169203331\"} 2.75 ";
    assert!(text.contains(bucket), "no {bucket:?} in\n{text}");
    assert!(text.contains("# TYPE elpio_reconcile counter\n"), "a counter's family has no suffix");
    for unit in ["elpio_reconcile_duration_seconds seconds", "process_memory_usage_bytes bytes"] {
        assert!(text.contains(&format!("\n# UNIT {unit}\n")), "no unit {unit}");
    }
    assert!(text.contains("\n# UNIT process_cpu_time_seconds seconds\n"), "without the suffix of a counter");
    assert!(text.contains("\nelpio_reconcile_total{kind=\"ElpioService\",result=\"success\"} 1.0\n"));
    let spans = harness.spans();
    let trace = spans
        .iter()
        .filter(|span| span.name == "reconcile ElpioService")
        .map(|span| span.span_context.trace_id().to_string());
    let marked: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("elpio_reconcile_duration_seconds_bucket") && line.contains(" # {"))
        .collect();
    assert!(trace.into_iter().any(|trace| marked.iter().any(|line| line.contains(&trace))), "{marked:?}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (_, after) = line.split_once("} ").or(line.split_once(' ')).unwrap();
        assert!(after.split(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
    }
    assert!(!harness.page().contains("trace_id"), "plain text has no exemplars");
}
