//! Stands between an operator and the API server, and can hold back what the API server says. It reads
//! nothing of it: it is encrypted.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

pub struct Relay {
    kubeconfig: PathBuf,
    held: watch::Sender<bool>,
    _server: JoinSet<()>,
}

impl Relay {
    /// In front of the API server of that kubeconfig.
    pub async fn to(kubeconfig: &Path) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let own = listener.local_addr().unwrap();
        let text = std::fs::read_to_string(kubeconfig).unwrap();
        let (_, rest) = text.split_once("https://").expect("the API server's address");
        let server: String = rest.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
        let path = kubeconfig.with_file_name(format!("relay-{}.kubeconfig", own.port()));
        std::fs::write(&path, text.replace(&server, &own.to_string())).unwrap();
        let (held, is_held) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // They end with this task.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(connect(client, server.clone(), is_held.clone()));
            }
        });
        Self { kubeconfig: path, held, _server: tasks }
    }

    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// From now on requests arrive and no answer does.
    pub fn hold(&self) {
        self.held.send_replace(true);
    }

    /// Answers arrive again, first those that were held back.
    pub fn release(&self) {
        self.held.send_replace(false);
    }
}

async fn connect(client: TcpStream, server: String, mut held: watch::Receiver<bool>) {
    // A connection that fails is closed: the client begins again.
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count) = from_server.read(&mut buffer).await {
            let open = count > 0 && held.wait_for(|held| !held).await.is_ok();
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
