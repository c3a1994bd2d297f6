//! A collector that accepts an export and rejects a part of it: what it rejects is counted as lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{collections::HashMap, sync::Arc, time::Duration};

use elpio_cluster::{OtlpReceiver, eventually, otlp::ReceiverFault};
use elpio_operator::telemetry::{
    self, ErrorType, Failure, Identity, LogConfig, LogFormat, ReconcileOutcome, ReconcileReport, SpanParent,
    TelemetryConfig,
};
use elpio_support::telemetry_harness::info;

/// The protocol of a child process: telemetry can be started once in a process.
const PROTOCOL: &str = "TEST_PROTOCOL";

#[test]
fn a_partial_success_counts_as_loss() {
    let program = std::env::current_exe().unwrap();
    for protocol in ["grpc", "http/protobuf"] {
        let mut child = std::process::Command::new(&program);
        child.args(["--ignored", "--exact", "of_one_protocol"]).env(PROTOCOL, protocol);
        let output = child.output().unwrap();
        assert!(output.status.success(), "{protocol}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a part of the test above"]
async fn of_one_protocol() {
    let protocol = std::env::var(PROTOCOL).unwrap();
    let receiver = OtlpReceiver::start().await;
    receiver.set_fault(ReceiverFault::Partial(3, "too old".to_owned()));
    let endpoint = receiver.endpoint_for(&protocol);
    let variables =
        HashMap::from([("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)]);
    let (settings, warnings) = TelemetryConfig::from_env(&|name| variables.get(name).cloned());
    assert!(warnings.is_empty(), "{warnings:?}");
    let log = LogConfig { filter: "info".into(), format: LogFormat::Json, ansi: false };
    let telemetry = Arc::new(telemetry::init(settings, Identity::default(), log, true).unwrap());
    let work = async {
        ReconcileReport {
            failure: Some(Failure { error_type: ErrorType::Unavailable, message: "later".into() }),
            outcome: ReconcileOutcome::Failed,
            ..ReconcileReport::default()
        }
    };
    telemetry
        .metrics()
        .reconcile(&telemetry.traces(), info(SpanParent::AfterRollout(None)), work)
        .await
        .expect("no panic");
    let flushing = Arc::clone(&telemetry);
    tokio::task::spawn_blocking(move || flushing.flush()).await.unwrap();

    let endpoint = telemetry.metrics_endpoint().unwrap();
    for signal in ["traces", "metrics", "logs"] {
        let value = |family: &str, result: &str| {
            let text = String::from_utf8(endpoint.render(None).1).unwrap();
            let series = format!("{family}{{result=\"{result}\",signal=\"{signal}\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&series)?.parse::<u64>().ok()).unwrap_or(0)
        };
        eventually(signal, Duration::from_secs(10), async || {
            let (exports, lost) = (
                value("elpio_telemetry_exports_total", "success"),
                value("elpio_telemetry_dropped_total", "error"),
            );
            (exports > 0 && lost == 3 * exports)
                .then_some(())
                .ok_or(format!("{exports} exports, {lost} lost"))
        })
        .await;
    }
}
