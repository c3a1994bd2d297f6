//! The OTLP receiver: both protocols, faults and restarts.

use std::fmt::Write as _;

use elpio_cluster::{OtlpReceiver, otlp::ReceiverFault};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, trace_service_client::TraceServiceClient},
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::TIMEOUT;

#[tokio::test]
async fn the_receiver_stores_spans_and_fails_on_request() {
    let mut receiver = OtlpReceiver::start().await;
    let export = async |name: &str| {
        let mut client =
            TraceServiceClient::connect(receiver.endpoint()).await.map_err(|error| error.to_string())?;
        client.export(request(name)).await.map(drop).map_err(|status| status.code().to_string())
    };
    export("first").await.unwrap();
    let span = receiver.wait_for_span("the span is there", TIMEOUT, |span| span.name == "first").await;
    assert_eq!(span.trace_id, "0102030405060708090a0b0c0d0e0f10");
    assert_eq!(receiver.trace(&span.trace_id).len(), 1);

    receiver.set_fault(ReceiverFault::Status(tonic::Code::Unavailable, "busy".to_owned()));
    assert_eq!(export("second").await.unwrap_err(), tonic::Code::Unavailable.to_string());
    receiver.set_fault(ReceiverFault::None);
    assert_eq!(receiver.exports().iter().map(|export| export.accepted).collect::<Vec<_>>(), [true, false]);

    let over_http = async |path: &str| {
        let body = request("over http").encode_to_vec();
        let mut head =
            format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n");
        let _ = write!(head, "Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        let address = receiver.http_endpoint().trim_start_matches("http://").to_owned();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&[head.into_bytes(), body].concat()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(over_http("/v1/traces").await, "HTTP/1.1 200 OK");
    assert_eq!(over_http("/v1/nothing").await, "HTTP/1.1 404 Not Found");
    receiver.wait_for_span("the span over HTTP is there", TIMEOUT, |span| span.name == "over http").await;
    receiver.set_fault(ReceiverFault::Status(tonic::Code::ResourceExhausted, "slow down".to_owned()));
    assert_eq!(over_http("/v1/traces").await, "HTTP/1.1 429 Too Many Requests");
    receiver.set_fault(ReceiverFault::None);

    let endpoint = receiver.endpoint();
    receiver.stop();
    assert!(TraceServiceClient::connect(endpoint.clone()).await.is_err());
    receiver.restart().await;
    assert_eq!(receiver.endpoint(), endpoint);
    let mut client = TraceServiceClient::connect(endpoint).await.unwrap();
    client.export(request("third")).await.unwrap();
    assert_eq!(receiver.spans().len(), 3, "spans received before the stop are kept");
}

fn request(name: &str) -> ExportTraceServiceRequest {
    let span = Span {
        trace_id: (1..=16).collect(),
        span_id: vec![7; 8],
        name: name.to_owned(),
        start_time_unix_nano: 1,
        end_time_unix_nano: 2,
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
    }
}
