//! Clients that open connections and ask nothing, or more than a server reads.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use elpio_cluster::{Operator, eventually};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::live_env::{LiveEnv, TIMEOUT};

const HALF_OPEN: usize = 3000;
const MIB: u64 = 1 << 20;

/// A connection from this address that has begun a request and never ends it.
async fn half_open(from: Ipv4Addr, port: u16) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    let mut stream = socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: a").await?;
    Ok(stream)
}

async fn assert_answers(operator: &Operator) {
    // The harness's client gives up after ten seconds; a server without a bound never answers.
    let (status, body) = operator.get("/livez").await.expect("an answer");
    assert_eq!((status, body.as_str()), (200, "alive\n"));
    assert_eq!(operator.scrape("text/plain").await.expect("a page").status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_open_connections_keep_nobody_from_an_answer() {
    let env = LiveEnv::new("slow-clients").await;
    let operator = &env.operator;
    assert_answers(operator).await;
    let before = operator.rss();
    let mut connections = Vec::new();
    for n in 0..HALF_OPEN {
        // One address, and as many as a network has.
        let from = Ipv4Addr::new(127, 0, 1, if n % 2 == 0 { 1 } else { u8::try_from(n % 250).unwrap() });
        for port in [operator.health_port(), operator.metrics_port()] {
            if let Ok(stream) = half_open(from, port).await {
                connections.push(stream);
            }
        }
        if n % 100 == 0 {
            assert_answers(operator).await;
        }
    }
    assert!(connections.len() > HALF_OPEN, "{} were opened", connections.len());
    assert_answers(operator).await;
    let growth = operator.rss().saturating_sub(before);
    assert!(growth < 16 * MIB, "{growth} bytes more");
    eventually("all are closed, as nothing more is sent", TIMEOUT, async || {
        let mut open = 0;
        for stream in &mut connections {
            let read = tokio::time::timeout(Duration::ZERO, stream.read(&mut [0; 512])).await;
            open += usize::from(matches!(read, Err(_) | Ok(Ok(1..))));
        }
        if open == 0 { Ok(()) } else { Err(format!("{open} are open")) }
    })
    .await;
    assert_answers(operator).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_has_a_bound() {
    let env = LiveEnv::new("slow-heads").await;
    for port in [env.operator.health_port(), env.operator.metrics_port()] {
        for (bytes, status) in [(7 << 10, "HTTP/1.1 404"), (9 << 10, "HTTP/1.1 431")] {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
            let padding = "a".repeat(bytes);
            let head =
                format!("GET /none HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-A: {padding}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.expect("an answer");
            assert_eq!(String::from_utf8_lossy(&answer), status, "{bytes} bytes");
        }
    }
    assert_answers(&env.operator).await;
}
