//! When batches of spans are exported, and what becomes of spans while an export lasts.

use std::time::Duration;

use elpio_cluster::{
    eventually,
    otlp::{OtlpReceiver, ReceiverFault},
};

use super::push::{GUARD, NEVER, pushing};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_queue_drops_is_counted_and_no_reconcile_waits() {
    let receiver = OtlpReceiver::start().await;
    receiver.set_fault(ReceiverFault::Slow(NEVER));
    let pushing = pushing(&[
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &receiver.endpoint()),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", &NEVER.as_millis().to_string()),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "4"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2"),
    ]);
    let all = async {
        for _ in 0..50 {
            pushing.reconcile().await;
        }
    };
    // Whoever waited for room would wait for the end of an export, which does not come.
    tokio::time::timeout(GUARD, all).await.expect("nobody waits");
    let ended = |result: &str| {
        pushing.value(&format!("elpio_telemetry_exports_total{{result=\"{result}\",signal=\"traces\"}}"))
    };
    assert_eq!((ended("success"), ended("error")), (0.0, 0.0), "no export has ended");
    // One batch is under way, four spans wait.
    assert!(pushing.value("elpio_telemetry_dropped_total{result=\"queue_full\",signal=\"traces\"}") >= 44.0);
    let shutdown = pushing.telemetry.shutdown(Duration::from_millis(300));
    let reported = tokio::time::timeout(GUARD, shutdown).await.expect("it does not wait for the export");
    assert!(reported.iter().any(|line| line.starts_with("traces: ")), "{reported:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_exported_when_it_is_full_and_after_its_delay() {
    let never = NEVER.as_millis().to_string();
    // Reconciles, spans of a batch, its delay in milliseconds, and what arrives without a flush.
    for (reconciles, batch, delay, arrive) in [(3, "2", never.as_str(), 2), (3, "100", "20", 3)] {
        let receiver = OtlpReceiver::start().await;
        let pushing = pushing(&[
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &receiver.endpoint()),
            ("OTEL_BSP_SCHEDULE_DELAY", delay),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", batch),
        ]);
        for _ in 0..reconciles {
            pushing.reconcile().await;
        }
        eventually(&format!("{arrive} spans in batches of {batch}"), GUARD, async || {
            let arrived = receiver.spans().len();
            if arrived == arrive { Ok(()) } else { Err(arrived.to_string()) }
        })
        .await;
        pushing.telemetry.flush();
        assert_eq!(receiver.spans().len(), reconciles);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_exports_what_waits_and_not_what_comes_meanwhile() {
    let receiver = OtlpReceiver::start().await;
    // Longer than it takes until the next span ends: there is always another one to export.
    receiver.set_fault(ReceiverFault::Slow(Duration::from_millis(50)));
    let pushing = pushing(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &receiver.endpoint())]);
    let traces = pushing.telemetry.traces();
    pushing.reconcile().await;
    let spans = async {
        let mut pace = tokio::time::interval(Duration::from_millis(5));
        loop {
            pace.tick().await;
            pushing.reconcile().await;
        }
    };
    tokio::select! {
        exported = traces.export_all(GUARD, GUARD) => assert!(exported, "the flush gave up"),
        () = spans => {}
    }
}
