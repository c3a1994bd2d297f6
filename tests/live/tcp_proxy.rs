//! Stands between an operator and the API server, and can hold back what the API server says, or cut the
//! connection. It reads nothing: all is encrypted.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Open,
    /// Requests arrive and no answer does.
    Held,
    /// Nothing connects.
    Cut,
}

pub struct TcpProxy {
    kubeconfig: PathBuf,
    line: watch::Sender<Line>,
    refused: Arc<AtomicUsize>,
    _server: JoinSet<()>,
}

impl TcpProxy {
    /// In front of the API server of that kubeconfig.
    pub async fn to(kubeconfig: &Path) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let own = listener.local_addr().unwrap();
        let text = std::fs::read_to_string(kubeconfig).unwrap();
        let (_, rest) = text.split_once("https://").expect("the API server's address");
        let server: String = rest.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
        let path = kubeconfig.with_file_name(format!("relay-{}.kubeconfig", own.port()));
        std::fs::write(&path, text.replace(&server, &own.to_string())).unwrap();
        let (line, seen) = watch::channel(Line::Open);
        let refused = Arc::<AtomicUsize>::default();
        let count = refused.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // They end with this task.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                if *seen.borrow() == Line::Cut {
                    count.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                let (server, line, mut cut) = (server.clone(), seen.clone(), seen.clone());
                connections.spawn(async move {
                    tokio::select! {
                        () = connect(client, server, line) => {}
                        _ = cut.wait_for(|line| *line == Line::Cut) => {}
                    }
                });
            }
        });
        Self { kubeconfig: path, line, refused, _server: tasks }
    }

    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// From now on requests arrive and no answer does.
    pub fn hold(&self) {
        self.line.send_replace(Line::Held);
    }

    /// From now on every connection is broken, and no other is made.
    pub fn cut(&self) {
        self.line.send_replace(Line::Cut);
    }

    /// How many connections were refused.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// Answers arrive again, first those that were held back.
    pub fn release(&self) {
        self.line.send_replace(Line::Open);
    }
}

async fn connect(client: TcpStream, server: String, mut line: watch::Receiver<Line>) {
    // A connection that fails is closed: the client begins again.
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count) = from_server.read(&mut buffer).await {
            let open = count > 0 && line.wait_for(|line| *line != Line::Held).await.is_ok();
            if !open || to_client.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
    };
    let requests = async move {
        // Its end is the end of the requests alone: half of a connection stays.
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
        let _ = to_server.shutdown().await;
    };
    tokio::join!(answers, requests);
}
