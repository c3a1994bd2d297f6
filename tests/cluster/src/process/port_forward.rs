//! Opens TCP ports of one network namespace in another, by two forwarders that meet at unix sockets in a
//! common directory. It does not know which namespaces those are.
//!
//! The inner half ([`PortForwards`]) asks the outer one ([`PortForwardListener`]) to listen on a port: the
//! same number where that is free, otherwise another.

use std::{
    io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    task::JoinSet,
};

/// How long to wait after a failed `accept`, for example when file descriptors have run out.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// How long the other half may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The socket on which the outer half takes requests.
fn control_socket(dir: &Path) -> PathBuf {
    dir.join("control.sock")
}

/// The socket through which connections to this port are forwarded.
fn port_socket(dir: &Path, port: u16) -> PathBuf {
    dir.join(format!("{port}.sock"))
}

/// The outer half: listens on 127.0.0.1 for the ports that the inner half requests. Its ports close on drop.
#[derive(Debug)]
pub struct PortForwardListener {
    #[expect(dead_code, reason = "stops the forwarders on drop")]
    tasks: JoinSet<()>,
}

impl PortForwardListener {
    /// Takes requests at a socket in this directory, which no other user should be able to read.
    ///
    /// # Errors
    /// If the socket cannot be created, for example because the path is too long.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let control = UnixListener::bind(control_socket(dir))?;
        let dir: Arc<Path> = dir.into();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut forwarders = JoinSet::new();
            loop {
                let Ok((stream, _)) = control.accept().await else {
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                };
                // The inner half reports a request that fails.
                if let Ok(Ok((port, listener))) = tokio::time::timeout(TIMEOUT, serve_request(stream)).await {
                    forwarders.spawn(forward_to_socket(listener, port_socket(&dir, port)));
                }
            }
        });
        Ok(Self { tasks })
    }
}

/// Reads a port, listens on it or on another, and answers with the number.
async fn serve_request(stream: UnixStream) -> io::Result<(u16, TcpListener)> {
    let mut stream = BufReader::new(stream);
    let port = read_port(&mut stream).await?;
    let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?,
    };
    let outer = listener.local_addr()?.port();
    stream.write_all(format!("{outer}\n").as_bytes()).await?;
    Ok((port, listener))
}

async fn forward_to_socket(listener: TcpListener, socket: PathBuf) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((client, _)) => {
                let socket = socket.clone();
                connections.spawn(async move { copy(client, UnixStream::connect(socket).await).await });
            }
            Err(_) => tokio::time::sleep(ACCEPT_RETRY).await,
        }
    }
}

/// The inner half: the ports that are open outside. They refuse connections after the drop.
#[derive(Debug, Default)]
pub struct PortForwards {
    dir: Option<PathBuf>,
    tasks: JoinSet<()>,
}

impl PortForwards {
    /// Forwards from the [`PortForwardListener`] with this directory.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir: Some(dir), tasks: JoinSet::new() }
    }

    /// For a process in the machine's own network, where every port is reachable as it is.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Opens a port of this network's 127.0.0.1 outside, and returns its number there.
    ///
    /// # Errors
    /// If the outer half does not answer.
    pub async fn open(&mut self, port: u16) -> io::Result<u16> {
        let Some(dir) = &self.dir else { return Ok(port) };
        let listener = UnixListener::bind(port_socket(dir, port))?;
        self.tasks.spawn(forward_to_port(listener, port));
        let request = async {
            let mut stream = BufReader::new(UnixStream::connect(control_socket(dir)).await?);
            stream.write_all(format!("{port}\n").as_bytes()).await?;
            read_port(&mut stream).await
        };
        tokio::time::timeout(TIMEOUT, request).await?
    }
}

async fn forward_to_port(listener: UnixListener, port: u16) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((client, _)) => {
                connections.spawn(async move {
                    copy(client, TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await).await;
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_RETRY).await,
        }
    }
}

/// Copies bytes in both directions, each of which ends by itself. If there is no server, the client's
/// connection is closed.
async fn copy(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    server: io::Result<impl AsyncRead + AsyncWrite + Unpin>,
) {
    if let Ok(mut server) = server {
        // A broken connection is closed at both ends.
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    }
}

async fn read_port(stream: &mut BufReader<UnixStream>) -> io::Result<u16> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    line.trim().parse().map_err(|_| io::Error::other(format!("not a port: {line:?}")))
}
