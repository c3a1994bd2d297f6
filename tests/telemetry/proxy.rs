//! Pushing through a proxy to a collector that only the proxy can reach.

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};

use elpio_cluster::{otlp::OtlpReceiver, pki::Authority};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use super::{
    push::pushing,
    tls::{ClientFiles, PROTOCOLS, push_one, tls_server},
};

/// What the proxy was asked for: its first lines.
type Asked = Arc<Mutex<Vec<String>>>;

/// A proxy that takes every host for this machine; returns its address.
async fn proxy() -> (String, Asked) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(client, Arc::clone(&seen)));
        }
    });
    (address, asked)
}

async fn serve(mut client: TcpStream, asked: Asked) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = client.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let mut words = head.split_whitespace();
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let authorized = head.to_ascii_lowercase().contains("\r\nproxy-authorization: basic ");
    asked.lock().unwrap().push(format!("{method} {target} {authorized}"));
    let port = target.trim_start_matches("http://").split('/').next().unwrap().rsplit(':').next().unwrap();
    let port: u16 = port.parse().unwrap();
    let mut collector = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    if method == "CONNECT" {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    } else {
        let path = target.split_once("://").unwrap().1.split_once('/').unwrap().1;
        collector.write_all(head.replacen(target, &format!("/{path}"), 1).as_bytes()).await.unwrap();
    }
    // Ends when one of them does.
    let _ = copy_bidirectional(&mut client, &mut collector).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_endpoint_is_reached_by_the_proxy_of_http() {
    for (protocol, expected) in [
        ("grpc", "CONNECT collector.example:PORT true"),
        ("http/protobuf", "POST http://collector.example:PORT/v1/"),
    ] {
        let (receiver, (proxy, asked)) = (OtlpReceiver::start().await, proxy().await);
        let own = if protocol == "grpc" { receiver.endpoint() } else { receiver.http_endpoint() };
        let pushing = pushing(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &own.replace("127.0.0.1", "collector.example")),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("HTTP_PROXY", &format!("http://me:secret@{proxy}")),
        ]);
        pushing.reconcile().await;
        let lost = pushing.telemetry.shutdown(Duration::from_secs(5)).await;
        assert!(lost.is_empty(), "{protocol}: {lost:?}; {:?}", asked.lock().unwrap());
        assert!(!receiver.spans().is_empty() && !receiver.logs().is_empty(), "{protocol}");
        let port = own.rsplit(':').next().unwrap();
        let asked = asked.lock().unwrap().clone();
        let is_right =
            |line: &String| line.starts_with(&expected.replace("PORT", port)) && line.ends_with(" true");
        assert!(!asked.is_empty() && asked.iter().all(is_right), "{protocol}: {asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_goes_through_a_tunnel_to_the_end() {
    let authority = Authority::new("test");
    let files = ClientFiles::new(&authority);
    for (protocol, alpn, first) in PROTOCOLS {
        let (proxy, asked) = proxy().await;
        let (port, served) = tls_server(&authority, alpn, "collector.example");
        let (endpoint, proxy) = (format!("https://collector.example:{port}"), format!("http://{proxy}"));
        let pushing = files.pushing(protocol, &endpoint, &[("HTTPS_PROXY", &proxy)]);
        let (sent, shown) = push_one(pushing, served).await;
        assert_eq!(asked.lock().unwrap().first(), Some(&format!("CONNECT collector.example:{port} false")));
        assert_eq!((sent.as_str(), shown), (first, true), "{protocol}");
    }
}
