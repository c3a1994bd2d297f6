//! Pushing with TLS: whom it trusts, what it shows, and what it does when files change.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::Arc,
    time::Duration,
};

use elpio_operator::telemetry::TelemetryBuilder;

use super::{
    push::pushing,
    rig::{identity, log, settings},
};

/// Each protocol: its name, what TLS negotiates, and what the client sends first.
pub const PROTOCOLS: [(&str, &[u8], &str); 2] =
    [("grpc", b"h2", "PRI * HTTP/2.0"), ("http/protobuf", b"http/1.1", "POST /v1/trace")];

/// Accepts one TLS connection and returns what the client sent first and whether it showed a certificate.
pub fn tls_server(
    authority: &elpio_cluster::pki::Authority,
    alpn: &[u8],
    host: &str,
) -> (u16, std::thread::JoinHandle<(String, bool)>) {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let identity = authority.server(&[host]);
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
    for (protocol, alpn, first) in PROTOCOLS {
        let (port, served) = tls_server(&authority, alpn, "localhost");
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
async fn certificates_are_read_again_when_they_change() {
    let (old, new) = (elpio_cluster::pki::Authority::new("old"), elpio_cluster::pki::Authority::new("new"));
    for (protocol, alpn, first) in PROTOCOLS {
        let folder =
            std::env::temp_dir().join(format!("elpio-rotation-{}-{}", std::process::id(), alpn.len()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = |name: &str| folder.join(name).display().to_string();
        let write = |authority: &elpio_cluster::pki::Authority, later: Duration| {
            let client = authority.client("operator");
            let texts = [("ca", authority.certificate()), ("crt", client.certificate), ("key", client.key)];
            for (name, text) in texts {
                std::fs::write(folder.join(name), text).unwrap();
                let file = std::fs::File::options().write(true).open(folder.join(name)).unwrap();
                file.set_modified(std::time::SystemTime::now() + later).unwrap();
            }
        };
        write(&old, Duration::ZERO);
        let (port, served) = tls_server(&new, alpn, "localhost");
        let pushing = pushing(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("https://localhost:{port}")),
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_LOGS_EXPORTER", "none"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", &path("ca")),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &path("crt")),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", &path("key")),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2000"),
        ]);
        write(&new, Duration::from_secs(10));
        pushing.reconcile().await;
        let _ = pushing.telemetry.shutdown(Duration::from_secs(3)).await;
        let (sent, shown) = tokio::task::spawn_blocking(|| served.join().unwrap()).await.unwrap();
        assert_eq!((sent.as_str(), shown), (first, true), "{protocol}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
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
