//! Pushing to a real OTLP receiver over gRPC and HTTP, and to one that is down.

use std::{net::TcpListener, pin::pin, time::Duration};

use elpio_cluster::otlp::{OtlpReceiver, ReceiverFault};
use elpio_operator::telemetry::{RolloutSeed, SpanParent, Telemetry, TelemetryBuilder};
use tracing::{Dispatch, instrument::WithSubscriber};

use super::harness::{Lines, config, identity, info, log, wrote};

/// Longer than any test lasts.
pub const NEVER: Duration = Duration::from_mins(30);
/// For what takes milliseconds on a quiet machine, and else would not come.
pub const GUARD: Duration = Duration::from_mins(2);

pub struct Pushing {
    pub telemetry: Telemetry,
    dispatch: Dispatch,
}

pub fn pushing(variables: &[(&str, &str)]) -> Pushing {
    let builder = TelemetryBuilder::new(config(variables), identity())
        .with_metrics_endpoint(true)
        .with_configured_exporters();
    let (telemetry, dispatch, warnings) = builder.build(&log("info"), Lines::default()).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    Pushing { telemetry, dispatch }
}

impl Pushing {
    pub async fn reconcile(&self) {
        self.reconcile_and_keep_span().await;
    }

    /// Returns the reconcile's span, as somebody has it who was called by it.
    async fn reconcile_and_keep_span(&self) -> tracing::Span {
        let traces = self.telemetry.traces();
        let seed = RolloutSeed { uid: "uid-1", generation: 7, ..RolloutSeed::default() };
        let rollout = traces.begin_rollout(&seed);
        let mut span = tracing::Span::none();
        let reconcile = async {
            span = tracing::Span::current();
            wrote()
        };
        self.telemetry
            .metrics()
            .reconcile(&traces, info(SpanParent::InRollout(rollout)), reconcile)
            .with_subscriber(self.dispatch.clone())
            .await
            .expect("no panic");
        span
    }

    pub fn value(&self, series: &str) -> f64 {
        let page = String::from_utf8(self.telemetry.metrics_endpoint().unwrap().render(None).1).unwrap();
        page.lines()
            .find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
            .unwrap_or_else(|| panic!("no {series} in\n{page}"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_signals_arrive_over_both_protocols_with_headers_and_gzip() {
    for (protocol, label) in [("grpc", "grpc"), ("http/protobuf", "http")] {
        let receiver = OtlpReceiver::start().await;
        let endpoint = receiver.endpoint_for(protocol);
        let pushing = pushing(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=a%20b,x-percent=a%2541"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_SERVICE_NAME", "mine"),
        ]);
        pushing.reconcile().await;
        let reported = pushing.telemetry.shutdown(Duration::from_secs(5)).await;
        assert!(reported.is_empty(), "{protocol}: {reported:?}");
        let exports = receiver.exports();
        for signal in ["traces", "metrics", "logs"] {
            let export = exports
                .iter()
                .find(|export| export.signal == signal)
                .unwrap_or_else(|| panic!("{protocol}: no {signal}: {exports:?}"));
            assert_eq!(export.protocol, label);
            for (name, value) in [("x-tenant", "a b"), ("x-percent", "a%41")] {
                let found = export.headers.get(name).map(String::as_str);
                assert_eq!(found, Some(value), "{protocol} {signal}: {:?}", export.headers);
            }
        }
        assert!(receiver.spans().iter().any(|span| span.name == "reconcile ElpioService"));
        assert!(receiver.logs().iter().any(|log| log.body == "reconciled"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schemeless_grpc_endpoint_is_plain_text_where_that_is_asked_for() {
    let receiver = OtlpReceiver::start().await;
    let endpoint = receiver.endpoint();
    let pushing = pushing(&[
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint.trim_start_matches("http://")),
        ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "true"),
    ]);
    pushing.reconcile().await;
    assert!(pushing.telemetry.shutdown(Duration::from_secs(5)).await.is_empty());
    assert!(!receiver.spans().is_empty());
    assert!(receiver.logs().is_empty(), "only traces were asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn losses_to_a_refusing_collector_are_counted_and_it_recovers() {
    let receiver = OtlpReceiver::start().await;
    // gRPC's INVALID_ARGUMENT, which is not retried.
    receiver.set_fault(ReceiverFault::Status(3.into(), "no".into()));
    let pushing = pushing(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &receiver.endpoint())]);
    pushing.reconcile().await;
    pushing.telemetry.flush();
    assert!(pushing.value("elpio_telemetry_exports_total{result=\"error\",signal=\"traces\"}") >= 1.0);
    assert!(pushing.value("elpio_telemetry_dropped_total{result=\"error\",signal=\"traces\"}") >= 1.0);
    receiver.set_fault(ReceiverFault::None);
    pushing.reconcile().await;
    pushing.telemetry.flush();
    assert!(pushing.value("elpio_telemetry_exports_total{result=\"success\",signal=\"traces\"}") >= 1.0);
    assert_eq!(receiver.spans().len(), 1, "{:?}", receiver.spans());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_busy_collector_refuses_once_is_sent_again() {
    for protocol in ["grpc", "http/protobuf"] {
        let receiver = OtlpReceiver::start().await;
        // gRPC's UNAVAILABLE, and HTTP's 503.
        receiver.set_fault(ReceiverFault::StatusOnce(14.into(), "busy".into()));
        let endpoint = receiver.endpoint_for(protocol);
        let pushing = pushing(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_LOGS_EXPORTER", "none"),
        ]);
        pushing.reconcile().await;
        let lost = pushing.telemetry.shutdown(Duration::from_secs(5)).await;
        assert!(lost.is_empty(), "{protocol}: {lost:?}");
        let accepted: Vec<bool> = receiver.exports().iter().map(|export| export.accepted).collect();
        assert_eq!(accepted, [false, true], "{protocol}");
        assert_eq!(receiver.spans().len(), 1, "{protocol}: {:?}", receiver.spans());
        let agent = receiver.exports()[1].headers.get("user-agent").cloned().unwrap_or_default();
        assert!(agent.starts_with("Elpio-OTLP-Exporter-Rust/"), "{protocol}: {agent}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_headers_with_one_name_the_last_is_sent() {
    for protocol in ["grpc", "http/protobuf"] {
        let receiver = OtlpReceiver::start().await;
        let endpoint = receiver.endpoint_for(protocol);
        let pushing = pushing(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=a,x-tenant=b"),
        ]);
        pushing.reconcile().await;
        assert!(pushing.telemetry.shutdown(Duration::from_secs(5)).await.is_empty(), "{protocol}");
        for export in receiver.exports() {
            let sent = export.headers.get("x-tenant").map(String::as_str);
            assert_eq!(sent, Some("b"), "{protocol}: {export:?}");
        }
    }
}

/// A load balancer without a backend accepts connections too.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_to_a_silent_server_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for (protocol, scheme) in [("grpc", "http"), ("grpc", "https"), ("http/protobuf", "https")] {
        let pushing = pushing(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("{scheme}://127.0.0.1:{port}")),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "300"),
            ("OTEL_METRICS_EXPORTER", "none"),
        ]);
        pushing.reconcile().await;
        // It waits for five seconds.
        pushing.telemetry.flush();
        for signal in ["traces", "logs"] {
            let lost = format!("elpio_telemetry_dropped_total{{result=\"error\",signal=\"{signal}\"}}");
            assert!(pushing.value(&lost) >= 1.0, "{protocol} {scheme} {signal}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_was_down_is_found_again() {
    for protocol in ["grpc", "http/protobuf"] {
        let mut receiver = OtlpReceiver::start().await;
        let endpoint = receiver.endpoint_for(protocol);
        receiver.stop();
        let pushing = pushing(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "300"),
            ("OTEL_METRICS_EXPORTER", "none"),
        ]);
        pushing.reconcile().await;
        pushing.telemetry.flush();
        assert!(
            pushing.value("elpio_telemetry_dropped_total{result=\"error\",signal=\"traces\"}") >= 1.0,
            "{protocol}"
        );
        assert!(
            pushing.value("elpio_telemetry_dropped_total{result=\"error\",signal=\"logs\"}") >= 1.0,
            "{protocol}"
        );
        receiver.restart().await;
        pushing.reconcile().await;
        pushing.telemetry.flush();
        assert_eq!(receiver.spans().len(), 1, "{protocol}: the first is lost, the second arrives");
        assert_eq!(receiver.logs().len(), 1, "{protocol}");
    }
}

/// The client's own queue has a handle of a call's span, and drops it after the call.
#[tokio::test(flavor = "multi_thread")]
async fn shutdown_exports_a_span_whose_last_handle_is_dropped_late() {
    let receiver = OtlpReceiver::start().await;
    let pushing = pushing(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &receiver.endpoint())]);
    let span = pushing.reconcile_and_keep_span().await;
    let mut shutdown = pin!(pushing.telemetry.shutdown(Duration::from_secs(5)));
    assert!(futures::poll!(&mut shutdown).is_pending());
    drop(span);
    let lost = shutdown.await;
    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!(receiver.spans().len(), 1, "{:?}", receiver.spans());
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_reports_what_an_absent_collector_did_not_get() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for protocol in ["grpc", "http/protobuf"] {
        let endpoint = format!("http://127.0.0.1:{port}");
        let pushing = pushing(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "300"),
        ]);
        pushing.reconcile().await;
        let reported = pushing.telemetry.shutdown(Duration::from_secs(4)).await;
        assert!(
            reported.iter().any(|line| line.starts_with("traces: ") && line.ends_with("1 items lost")),
            "{protocol}: {reported:?}"
        );
    }
}
