//! A proxy before the API server that can silence its watches: the connections stay, and no byte comes any
//! more. Everything else passes.

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

use crate::process::Folder;

/// The pause after a connection that could not be taken.
const PAUSE: Duration = Duration::from_millis(50);

/// Passes everything on until it is dropped. Plain text on the client's side, so that it can tell a watch
/// from a call.
pub struct WatchSilencer {
    silent: watch::Sender<bool>,
    _server: JoinSet<()>,
    folder: Folder,
}

impl WatchSilencer {
    /// Listens on a free port, for clients of the API server that this kubeconfig (as a [`crate::Cluster`]
    /// writes it) names.
    ///
    /// # Panics
    /// When the kubeconfig cannot be read.
    pub async fn start(kubeconfig: &Path) -> Self {
        let text = std::fs::read_to_string(kubeconfig).expect("a kubeconfig");
        let mut config: Value = serde_json::from_str(&text).expect("a kubeconfig of a Cluster");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let own = listener.local_addr().expect("it is bound");
        let cluster = &mut config["clusters"][0]["cluster"];
        let server = cluster["server"].as_str().expect("a URL").trim_start_matches("https://").to_owned();
        let connector = connector(cluster["certificate-authority"].as_str().expect("a file"));
        *cluster = serde_json::json!({"server": format!("http://{own}")});
        let folder = Folder::new("silencer");
        std::fs::write(folder.path().join("kubeconfig"), config.to_string()).expect("its folder is writable");
        let (silent, heard) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // They end with this task.
            let mut connections = JoinSet::new();
            loop {
                while connections.try_join_next().is_some() {}
                match listener.accept().await {
                    Ok((client, _)) => drop(connections.spawn(relay(
                        client,
                        server.clone(),
                        connector.clone(),
                        heard.clone(),
                    ))),
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
        });
        Self { silent, _server: tasks, folder }
    }

    /// The kubeconfig for clients that are to come this way.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// From now on no watch hears anything; what it would have heard is kept for it.
    pub fn silence(&self) {
        self.silent.send_replace(true);
    }

    /// The end of [`WatchSilencer::silence`].
    pub fn resume(&self) {
        self.silent.send_replace(false);
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

/// One connection of a client, with one of its own to the API server. HTTP/1.1: one request after the other.
async fn relay(
    client: TcpStream,
    server: String,
    connector: TlsConnector,
    mut silent: watch::Receiver<bool>,
) {
    let name = ServerName::from(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST));
    // A connection that fails is closed: the client begins again.
    let Ok(stream) = TcpStream::connect(server).await else { return };
    let Ok(stream) = connector.connect(name, stream).await else { return };
    let (mut from_server, mut to_server) = tokio::io::split(stream);
    let (mut from_client, mut to_client) = client.into_split();
    let watches = AtomicBool::new(false);
    let up = async {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            let part = &buffer[..count];
            if let Some(line) = request_line(part) {
                watches.store(line.contains("watch=true"), Ordering::Relaxed);
            }
            if to_server.write_all(part).await.is_err() || to_server.flush().await.is_err() {
                break;
            }
        }
    };
    let down = async {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
            if watches.load(Ordering::Relaxed) && silent.wait_for(|silent| !silent).await.is_err() {
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

/// `GET /api/v1/services?watch=true HTTP/1.1`, where a request begins.
fn request_line(part: &[u8]) -> Option<String> {
    let end = part.iter().position(|byte| *byte == b'\r')?;
    let line = std::str::from_utf8(&part[..end]).ok()?;
    line.ends_with("HTTP/1.1").then(|| line.to_owned())
}
