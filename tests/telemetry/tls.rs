//! Pushing with TLS: whom it trusts, what it shows, and what it does when files change.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use elpio_cluster::{pki::Authority, process::TempDir};
use elpio_operator::telemetry::TelemetryBuilder;

use super::{
    harness::{config, identity, log},
    push::{Pushing, pushing},
};

/// Each protocol: its name, what TLS negotiates, and what the client sends first.
pub const PROTOCOLS: [(&str, &[u8], &str); 2] =
    [("grpc", b"h2", "PRI * HTTP/2.0"), ("http/protobuf", b"http/1.1", "POST /v1/trace")];

/// Accepts one TLS connection and returns what the client sent first and whether it showed a certificate.
pub fn tls_server(authority: &Authority, alpn: &[u8], host: &str) -> (u16, JoinHandle<(String, bool)>) {
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

/// What a client shows and trusts, as PEM files: `ca`, `crt` and `key`.
pub struct ClientFiles(TempDir);

impl ClientFiles {
    pub fn new(authority: &Authority) -> Self {
        let files = Self(TempDir::new("tls"));
        files.write(authority, Duration::ZERO);
        files
    }

    /// Writes them with a modification time that is so much later than now.
    fn write(&self, authority: &Authority, later: Duration) {
        let client = authority.client("operator");
        let texts = [("ca", authority.certificate()), ("crt", client.certificate), ("key", client.key)];
        for (name, text) in texts {
            std::fs::write(self.path(name), text).unwrap();
            let file = std::fs::File::options().write(true).open(self.path(name)).unwrap();
            file.set_modified(std::time::SystemTime::now() + later).unwrap();
        }
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// Pushes traces alone to this endpoint with these files, and with what `more` sets.
    pub fn pushing(&self, protocol: &str, endpoint: &str, more: &[(&str, &str)]) -> Pushing {
        let (ca, crt, key) = (self.path("ca"), self.path("crt"), self.path("key"));
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_LOGS_EXPORTER", "none"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", &ca),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &crt),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", &key),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2000"),
        ];
        pushing(&[&variables, more].concat())
    }
}

/// Pushes one reconcile. Returns what the server was sent first, and whether it was shown a certificate.
pub async fn push_one(pushing: Pushing, served: JoinHandle<(String, bool)>) -> (String, bool) {
    pushing.reconcile().await;
    let _ = pushing.telemetry.shutdown(Duration::from_secs(3)).await;
    tokio::task::spawn_blocking(|| served.join().unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_trusts_the_named_authority_and_shows_the_named_certificate() {
    let authority = Authority::new("test");
    let files = ClientFiles::new(&authority);
    for (protocol, alpn, first) in PROTOCOLS {
        let (port, served) = tls_server(&authority, alpn, "localhost");
        let pushing = files.pushing(protocol, &format!("https://localhost:{port}"), &[]);
        let (sent, shown) = push_one(pushing, served).await;
        assert_eq!((sent.as_str(), shown), (first, true), "{protocol}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_read_again_when_they_change() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    for (protocol, alpn, first) in PROTOCOLS {
        let files = ClientFiles::new(&old);
        let (port, served) = tls_server(&new, alpn, "localhost");
        let pushing = files.pushing(protocol, &format!("https://localhost:{port}"), &[]);
        files.write(&new, Duration::from_secs(10));
        let (sent, shown) = push_one(pushing, served).await;
        assert_eq!((sent.as_str(), shown), (first, true), "{protocol}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_used_is_one_warning() {
    for (variable, value) in [
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")),
    ] {
        let builder = TelemetryBuilder::new(
            config(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:1"), (variable, value)]),
            identity(),
        );
        let (telemetry, _, warnings) =
            builder.with_configured_exporters().build(&log("info"), std::io::sink).unwrap();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains(variable) && warnings[0].contains(value), "{warnings:?}");
        drop(telemetry.shutdown(Duration::from_millis(10)).await);
    }
}
