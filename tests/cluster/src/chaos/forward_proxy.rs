//! A forward proxy: it opens tunnels and forwards plain requests. It takes every host for this machine, and decrypts
//! nothing.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

type Requests = Arc<Mutex<Vec<String>>>;

/// A proxy that runs until it is dropped.
pub struct ForwardProxy {
    address: SocketAddr,
    requests: Requests,
    _server: JoinSet<()>,
}

impl ForwardProxy {
    /// Starts one.
    ///
    /// # Panics
    /// If it cannot listen.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let requests = Requests::default();
        let (mut server, seen) = (JoinSet::new(), Arc::clone(&requests));
        server.spawn(async move {
            // They end with this task.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(serve(client, Arc::clone(&seen)));
            }
        });
        Self { address, requests, _server: server }
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The requests so far, as `METHOD TARGET` and the value of `Proxy-Authorization`, `-` without one.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn serve(mut client: TcpStream, requests: Requests) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = client.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).expect("a head is text");
    let mut words = head.split_whitespace();
    let (method, target) = (words.next().expect("a method"), words.next().expect("a target"));
    let header = head.lines().filter_map(|line| line.split_once(": "));
    let mut credentials = header.filter(|(name, _)| name.eq_ignore_ascii_case("proxy-authorization"));
    let credentials = credentials.next().map_or("-", |(_, value)| value);
    let request = format!("{method} {target} {credentials}");
    requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    let port =
        target.trim_start_matches("http://").split('/').next().and_then(|host| host.rsplit(':').next());
    let port: u16 = port.and_then(|port| port.parse().ok()).expect("a target with a port");
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
    let sent = if method == "CONNECT" {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await
    } else {
        let path =
            target.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
        server.write_all(head.replacen(target, &format!("/{path}"), 1).as_bytes()).await
    };
    if sent.is_ok() {
        // Ends when one of them does.
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}
