//! The harness's backends: spans and metrics can be read back, and backends can be killed and paused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use elpio_cluster::{
    Cluster, Collector, Jaeger, Prometheus,
    collector::{CollectorTargets, FILE_EXPORTERS},
    eventually, trace_tree,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, trace_service_client::TraceServiceClient},
    common::v1::{AnyValue, KeyValue, any_value},
    resource::v1::Resource,
    trace::v1::{
        ResourceSpans, ScopeSpans, Span, Status,
        span::{Link, SpanKind},
        status::StatusCode,
    },
};

const TIMEOUT: Duration = Duration::from_secs(30);
const TRACE: &str = "00000000000000000000000000000abc";

fn pair(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn request() -> ExportTraceServiceRequest {
    let mut trace_id = vec![0; 16];
    trace_id[14..].copy_from_slice(&[0x0a, 0xbc]);
    let span = |id: u8, name: &str| Span {
        trace_id: trace_id.clone(),
        span_id: vec![0, 0, 0, 0, 0, 0, 0, id],
        name: name.to_owned(),
        start_time_unix_nano: 1_700_000_000_000_000_000,
        end_time_unix_nano: 1_700_000_000_004_000_000,
        ..Span::default()
    };
    let child = Span {
        parent_span_id: vec![0, 0, 0, 0, 0, 0, 0, 1],
        kind: SpanKind::Client.into(),
        status: Some(Status { code: StatusCode::Error.into(), message: "no".to_owned() }),
        attributes: vec![pair("error.type", "conflict")],
        links: vec![Link { trace_id: vec![7; 16], span_id: vec![8; 8], ..Link::default() }],
        ..span(2, "PATCH")
    };
    let resource = Resource { attributes: vec![pair("service.name", "probe")], ..Resource::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![span(1, "root"), child], ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans,
            ..ResourceSpans::default()
        }],
    }
}

async fn send(endpoint: String) -> Result<(), String> {
    let exchange = async {
        let mut client = TraceServiceClient::connect(endpoint).await.map_err(|error| error.to_string())?;
        client.export(request()).await.map(drop).map_err(|error| error.to_string())
    };
    tokio::time::timeout(Duration::from_secs(2), exchange)
        .await
        .unwrap_or_else(|_| Err("no answer".to_owned()))
}

#[tokio::test]
async fn a_span_passes_the_collector_and_is_read_unchanged_from_jaeger() {
    let cluster = Cluster::shared().await;
    let jaeger = Jaeger::start().await;
    let targets = CollectorTargets {
        kubeconfig: cluster.kubeconfig(),
        traces: jaeger.otlp(),
        overlays: vec![FILE_EXPORTERS.to_owned()],
        ..CollectorTargets::default()
    };
    let mut collector = Collector::start(targets).await;
    send(collector.endpoint()).await.unwrap();
    let spans = jaeger.wait_for_trace(TRACE, TIMEOUT, |spans| spans.len() == 2).await;
    let child = spans.iter().find(|span| span.name == "PATCH").unwrap();
    assert_eq!((child.parent_id.as_str(), child.kind, child.status), ("0000000000000001", "client", "error"));
    assert_eq!((child.status_message.as_str(), child.attribute("error.type")), ("no", "conflict"));
    assert_eq!(child.links, [("07".repeat(16), "08".repeat(8))]);
    assert_eq!((child.start, child.duration()), (1_700_000_000_000_000_000, Duration::from_millis(4)));
    assert_eq!(child.resource["service.name"], "probe");
    assert!(trace_tree::render(&spans, false).starts_with("root"), "{}", trace_tree::render(&spans, false));
    eventually("the collector's file has it", TIMEOUT, async || match collector.file("traces").len() {
        0 => Err("empty"),
        _ => Ok(()),
    })
    .await;

    collector.pause();
    assert_eq!(send(collector.endpoint()).await, Err("no answer".to_owned()));
    collector.resume();
    eventually("it answers again", TIMEOUT, async || send(collector.endpoint()).await).await;
    collector.kill();
    assert!(send(collector.endpoint()).await.is_err());
    collector.restart().await;
    send(collector.endpoint()).await.unwrap();
}

#[tokio::test]
async fn prometheus_scrapes_its_targets_and_answers_queries() {
    let prometheus = Prometheus::start(&[]).await;
    assert!(prometheus.query("up").await.unwrap().is_empty());
    let own = prometheus.url().trim_start_matches("http://").to_owned();
    prometheus.set_scrape_targets(&[own]).await;
    let up = eventually("it is scraped", TIMEOUT, async || {
        match prometheus.query("up{job=\"elpio-operator\"} == 1").await? {
            up if up.is_empty() => Err("not up".to_owned()),
            up => Ok(up),
        }
    })
    .await;
    assert_eq!((up.len(), up[0].value.to_string().as_str()), (1, "1"));
    assert!(prometheus.query("up{").await.unwrap_err().contains("parse error"));
}
