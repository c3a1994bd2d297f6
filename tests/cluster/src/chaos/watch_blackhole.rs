//! A proxy in front of the API server that can block watches: their connections stay open, but no events
//! arrive. All other requests pass.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::TlsConnector;

use crate::process::TempDir;

/// How long to wait after a failed `accept`.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// A running proxy; it stops on drop. Clients connect without TLS, so that it can recognize watches.
pub struct WatchBlackhole {
    blocked: watch::Sender<bool>,
    _server: JoinSet<()>,
    dir: TempDir,
}

impl WatchBlackhole {
    /// Listens on a free port, in front of the API server of this kubeconfig of a [`crate::Cluster`].
    ///
    /// # Panics
    /// If the kubeconfig cannot be read.
    pub async fn start(kubeconfig: &Path) -> Self {
        let text = std::fs::read_to_string(kubeconfig).expect("the kubeconfig is readable");
        let mut config: Value = serde_json::from_str(&text).expect("a Cluster writes JSON");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let cluster = &mut config["clusters"][0]["cluster"];
        let server = cluster["server"].as_str().expect("a URL").trim_start_matches("https://").to_owned();
        let connector = connector(cluster["certificate-authority"].as_str().expect("a file"));
        *cluster = serde_json::json!({"server": format!("http://{address}")});
        let dir = TempDir::new("watch-blackhole");
        std::fs::write(dir.path().join("kubeconfig"), config.to_string()).expect("its directory is writable");
        let (blocked, is_blocked) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // The connections end with this task.
            let mut connections = JoinSet::new();
            loop {
                while connections.try_join_next().is_some() {}
                match listener.accept().await {
                    Ok((client, _)) => drop(connections.spawn(forward(
                        client,
                        server.clone(),
                        connector.clone(),
                        is_blocked.clone(),
                    ))),
                    Err(_) => tokio::time::sleep(ACCEPT_RETRY).await,
                }
            }
        });
        Self { blocked, _server: tasks, dir }
    }

    /// The kubeconfig for clients of the proxy.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    /// Holds back the events of all watches.
    pub fn block(&self) {
        self.blocked.send_replace(true);
    }

    /// Delivers the events held back by [`WatchBlackhole::block`].
    pub fn unblock(&self) {
        self.blocked.send_replace(false);
    }
}

fn connector(authority: &str) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).expect("a certificate")).expect("an authority");
    let config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring knows them")
            .with_root_certificates(roots)
            .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// Forwards one connection. With HTTP/1.1 it carries one request at a time.
async fn forward(
    client: TcpStream,
    server: String,
    connector: TlsConnector,
    mut blocked: watch::Receiver<bool>,
) {
    let name = ServerName::from(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST));
    // A failed connection is closed: the client reconnects.
    let Ok(stream) = TcpStream::connect(server).await else { return };
    let Ok(stream) = connector.connect(name, stream).await else { return };
    let (mut from_server, mut to_server) = tokio::io::split(stream);
    let (mut from_client, mut to_client) = client.into_split();
    let is_watch = AtomicBool::new(false);
    let up = async {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            let part = &buffer[..count];
            if let Some(line) = request_line(part) {
                is_watch.store(line.contains("watch=true"), Ordering::Relaxed);
            }
            if to_server.write_all(part).await.is_err() || to_server.flush().await.is_err() {
                break;
            }
        }
    };
    let down = async {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
            if is_watch.load(Ordering::Relaxed) && blocked.wait_for(|blocked| !blocked).await.is_err() {
                break;
            }
            if to_client.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = up => (),
        () = down => (),
    }
}

/// The request line (`GET /api/v1/services?watch=true HTTP/1.1`) if these bytes start a request.
fn request_line(part: &[u8]) -> Option<String> {
    let end = part.iter().position(|byte| *byte == b'\r')?;
    let line = std::str::from_utf8(&part[..end]).ok()?;
    line.ends_with("HTTP/1.1").then(|| line.to_owned())
}
