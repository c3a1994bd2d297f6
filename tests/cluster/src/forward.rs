//! TCP ports of one network opened in another, by a pair of forwarders that meet at unix sockets in one
//! folder. Knows no namespace.
//!
//! The inner half ([`Doors`]) asks the outer one ([`Porter`]) for a port: it is the same number where that is
//! free, else another.

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

/// The pause after a connection that could not be taken, such as for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);
/// How long the other half may take to answer.
const BOUND: Duration = Duration::from_secs(10);

/// Where the inner half asks.
fn bell(folder: &Path) -> PathBuf {
    folder.join("bell.sock")
}

fn socket(folder: &Path, port: u16) -> PathBuf {
    folder.join(format!("{port}.sock"))
}

/// The outer half: listens on 127.0.0.1 for the ports that it is asked for. Its ports close when it is
/// dropped.
#[derive(Debug)]
pub struct Porter {
    #[expect(dead_code, reason = "ends the forwarders when dropped")]
    tasks: JoinSet<()>,
}

impl Porter {
    /// Takes requests at sockets in this folder, which should be nobody else's to read.
    ///
    /// # Errors
    /// When the socket cannot be made, as in a folder with a very long name.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let bell = UnixListener::bind(bell(folder))?;
        let folder: Arc<Path> = folder.into();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut doors = JoinSet::new();
            loop {
                let Ok((stream, _)) = bell.accept().await else {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                };
                // A request that fails is the other half's to tell.
                if let Ok(Ok((port, listener))) = tokio::time::timeout(BOUND, answer(stream)).await {
                    doors.spawn(forward_out(listener, socket(&folder, port)));
                }
            }
        });
        Ok(Self { tasks })
    }
}

/// Reads one port, and answers with the one that is open for it.
async fn answer(stream: UnixStream) -> io::Result<(u16, TcpListener)> {
    let mut stream = BufReader::new(stream);
    let port = read_port(&mut stream).await?;
    let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?,
    };
    let open = listener.local_addr()?.port();
    stream.write_all(format!("{open}\n").as_bytes()).await?;
    Ok((port, listener))
}

async fn forward_out(listener: TcpListener, socket: PathBuf) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((outer, _)) => {
                let socket = socket.clone();
                connections.spawn(async move { join(outer, UnixStream::connect(socket).await).await });
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// The inner half: what is open to the outside. Its ports refuse when it is dropped.
#[derive(Debug, Default)]
pub struct Doors {
    folder: Option<PathBuf>,
    tasks: JoinSet<()>,
}

impl Doors {
    /// Those that a [`Porter`] with this folder opens.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder: Some(folder), tasks: JoinSet::new() }
    }

    /// Where there is no other network: every port is open as it is.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Opens a port of this network's 127.0.0.1; the port on the other's.
    ///
    /// # Errors
    /// When the outer half does not answer.
    pub async fn open(&mut self, port: u16) -> io::Result<u16> {
        let Some(folder) = &self.folder else { return Ok(port) };
        let listener = UnixListener::bind(socket(folder, port))?;
        self.tasks.spawn(forward_in(listener, port));
        let ask = async {
            let mut stream = BufReader::new(UnixStream::connect(bell(folder)).await?);
            stream.write_all(format!("{port}\n").as_bytes()).await?;
            read_port(&mut stream).await
        };
        tokio::time::timeout(BOUND, ask).await?
    }
}

async fn forward_in(listener: UnixListener, port: u16) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((outer, _)) => {
                connections.spawn(async move {
                    join(outer, TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await).await
                });
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Carries bytes both ways; each way ends by itself. Without the other end the first is closed, which is all
/// that can be told.
async fn join(
    mut one: impl AsyncRead + AsyncWrite + Unpin,
    other: io::Result<impl AsyncRead + AsyncWrite + Unpin>,
) {
    if let Ok(mut other) = other {
        // A connection that breaks off is closed at both ends.
        let _ = tokio::io::copy_bidirectional(&mut one, &mut other).await;
    }
}

async fn read_port(stream: &mut BufReader<UnixStream>) -> io::Result<u16> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    line.trim().parse().map_err(|_| io::Error::other(format!("no port: {line:?}")))
}
