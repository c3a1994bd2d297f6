//! Pushing to a real OTLP receiver over gRPC and HTTP, with TLS, and to one that is down.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::Arc,
    time::Duration,
};

use elpio_cluster::otlp::{OtlpReceiver, ReceiverFault};
use elpio_operator::telemetry::{RolloutSeed, SpanParent, Telemetry, TelemetryBuilder};
use tracing::{Dispatch, instrument::WithSubscriber};

use super::rig::{Lines, identity, info, log, settings, wrote};

/// Longer than any test lasts.
const NEVER: Duration = Duration::from_mins(30);
/// For what takes milliseconds on a quiet machine, and else would not come.
const GUARD: Duration = Duration::from_mins(2);

struct Pushing {
    telemetry: Telemetry,
    dispatch: Dispatch,
}

fn pushing(variables: &[(&str, &str)]) -> Pushing {
    let builder =
        TelemetryBuilder::new(settings(variables), identity()).with_page(true).with_configured_exporters();
    let (telemetry, dispatch, warnings) = builder.build(&log("info"), Lines::default()).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    Pushing { telemetry, dispatch }
}

impl Pushing {
    async fn reconcile(&self) {
        struct Done;
        impl elpio_operator::telemetry::HasReport for Done {
            fn report(&self) -> elpio_operator::telemetry::ReconcileReport {
                wrote()
            }
        }
        let traces = self.telemetry.traces();
        let rollout = traces.begin_rollout(&RolloutSeed {
            uid: "uid-1",
            generation: 7,
            rebuild: "",
            parent: None,
            tracestate: None,
        });
        self.telemetry
            .metrics()
            .reconcile(&traces, info(SpanParent::InRollout(rollout)), async { Done })
            .with_subscriber(self.dispatch.clone())
            .await
            .expect("no panic");
    }

    fn value(&self, series: &str) -> f64 {
        let page = String::from_utf8(self.telemetry.page().unwrap().render(None).1).unwrap();
        page.lines()
            .find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
            .unwrap_or_else(|| panic!("no {series} in\n{page}"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_signals_arrive_over_both_protocols_with_headers_and_gzip() {
    for (protocol, label) in [("grpc", "grpc"), ("http/protobuf", "http")] {
        let receiver = OtlpReceiver::start().await;
        let endpoint = if label == "grpc" { receiver.endpoint() } else { receiver.http_endpoint() };
        let pushing = pushing(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=a%20b"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_SERVICE_NAME", "mine"),
        ]);
        pushing.reconcile().await;
        let said = pushing.telemetry.shutdown(Duration::from_secs(5)).await;
        assert!(said.is_empty(), "{protocol}: {said:?}");
        let exports = receiver.exports();
        for signal in ["traces", "metrics", "logs"] {
            let export = exports
                .iter()
                .find(|export| export.signal == signal)
                .unwrap_or_else(|| panic!("{protocol}: no {signal}: {exports:?}"));
            assert_eq!(export.protocol, label);
            assert_eq!(
                export.headers.get("x-tenant").map(String::as_str),
                Some("a b"),
                "{protocol} {signal}: {:?}",
                export.headers
            );
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
async fn a_collector_that_says_no_costs_counted_losses_and_recovers() {
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
async fn a_collector_that_was_down_is_found_again() {
    for protocol in ["grpc", "http/protobuf"] {
        let mut receiver = OtlpReceiver::start().await;
        let endpoint = if protocol == "grpc" { receiver.endpoint() } else { receiver.http_endpoint() };
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

#[tokio::test(flavor = "multi_thread")]
async fn what_the_queue_has_no_room_for_is_counted_and_nobody_waits() {
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
    let said = tokio::time::timeout(GUARD, shutdown).await.expect("it does not wait for the export");
    assert!(said.iter().any(|line| line.starts_with("traces: ")), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_said_at_the_end() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for protocol in ["grpc", "http/protobuf"] {
        let endpoint = format!("http://127.0.0.1:{port}");
        let pushing = pushing(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "300"),
        ]);
        pushing.reconcile().await;
        let said = pushing.telemetry.shutdown(Duration::from_secs(4)).await;
        assert!(
            said.iter().any(|line| line.starts_with("traces: ") && line.ends_with("1 items lost")),
            "{protocol}: {said:?}"
        );
    }
}

/// Accepts one TLS connection and returns what the client sent first and whether it showed a certificate.
fn tls_server(
    authority: &elpio_cluster::pki::Authority,
    alpn: &[u8],
) -> (u16, std::thread::JoinHandle<(String, bool)>) {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let identity = authority.server(&["localhost"]);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.certificate().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![alpn.to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut tls =
            rustls::StreamOwned::new(rustls::ServerConnection::new(Arc::new(config)).unwrap(), socket);
        let mut first = [0; 14];
        tls.read_exact(&mut first).unwrap();
        let shown = tls.conn.peer_certificates().is_some_and(|chain| !chain.is_empty());
        // The client's answer does not matter here.
        let _ = tls.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        (String::from_utf8_lossy(&first).into_owned(), shown)
    });
    (port, thread)
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_trusts_the_named_authority_and_shows_the_named_certificate() {
    let authority = elpio_cluster::pki::Authority::new("test");
    let client = authority.client("operator");
    let folder = std::env::temp_dir().join(format!("elpio-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (ca, crt, key) =
        (write("ca", &authority.certificate()), write("crt", &client.certificate), write("key", &client.key));
    for (protocol, alpn, first) in
        [("grpc", &b"h2"[..], "PRI * HTTP/2.0"), ("http/protobuf", b"http/1.1", "POST /v1/trace")]
    {
        let (port, served) = tls_server(&authority, alpn);
        let endpoint = format!("https://localhost:{port}");
        let pushing = pushing(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_LOGS_EXPORTER", "none"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", &ca),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &crt),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", &key),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2000"),
        ]);
        pushing.reconcile().await;
        let _ = pushing.telemetry.shutdown(Duration::from_secs(3)).await;
        let (sent, shown) = tokio::task::spawn_blocking(|| served.join().unwrap()).await.unwrap();
        assert_eq!((sent.as_str(), shown), (first, true), "{protocol}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_used_is_one_warning() {
    for (variable, value) in [
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")),
    ] {
        let builder = TelemetryBuilder::new(
            settings(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:1"), (variable, value)]),
            identity(),
        );
        let (telemetry, _, warnings) =
            builder.with_configured_exporters().build(&log("info"), std::io::sink).unwrap();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains(variable) && warnings[0].contains(value), "{warnings:?}");
        drop(telemetry.shutdown(Duration::from_millis(10)).await);
    }
}
