//! Pushing through a proxy to a collector that only the proxy can reach.

use std::time::Duration;

use elpio_cluster::{ForwardProxy, otlp::OtlpReceiver, pki::Authority};

use super::{
    push::pushing,
    tls::{ClientFiles, PROTOCOLS, push_one, tls_server},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_endpoint_is_reached_by_the_proxy_of_http() {
    for (protocol, expected) in [
        ("grpc", "CONNECT collector.example:PORT"),
        ("http/protobuf", "POST http://collector.example:PORT/v1/"),
    ] {
        let (receiver, proxy) = (OtlpReceiver::start().await, ForwardProxy::start().await);
        let own = receiver.endpoint_for(protocol);
        let pushing = pushing(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &own.replace("127.0.0.1", "collector.example")),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("HTTP_PROXY", &format!("http://me:secret@{}", proxy.address())),
        ]);
        pushing.reconcile().await;
        let lost = pushing.telemetry.shutdown(Duration::from_secs(5)).await;
        assert!(lost.is_empty(), "{protocol}: {lost:?}; {:?}", proxy.requests());
        assert!(!receiver.spans().is_empty() && !receiver.logs().is_empty(), "{protocol}");
        let port = own.rsplit(':').next().unwrap();
        let requests = proxy.requests();
        // `me:secret`.
        let is_right = |line: &String| {
            line.starts_with(&expected.replace("PORT", port)) && line.ends_with(" Basic bWU6c2VjcmV0")
        };
        assert!(!requests.is_empty() && requests.iter().all(is_right), "{protocol}: {requests:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_goes_through_a_tunnel_to_the_end() {
    let authority = Authority::new("test");
    let files = ClientFiles::new(&authority);
    for (protocol, alpn, first) in PROTOCOLS {
        let proxy = ForwardProxy::start().await;
        let (port, served) = tls_server(&authority, alpn, "collector.example");
        let endpoint = format!("https://collector.example:{port}");
        let url = format!("http://{}", proxy.address());
        let pushing = files.pushing(protocol, &endpoint, &[("HTTPS_PROXY", &url)]);
        let (sent, shown) = push_one(pushing, served).await;
        assert_eq!(proxy.requests().first(), Some(&format!("CONNECT collector.example:{port} -")));
        assert_eq!((sent.as_str(), shown), (first, true), "{protocol}");
    }
}
