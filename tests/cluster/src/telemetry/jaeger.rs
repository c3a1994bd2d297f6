//! A real Jaeger with storage in memory. Its answers are converted into [`Span`]s, and not interpreted.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use crate::{
    components::JAEGER,
    eventually,
    process::{free_port, http, restartable::RestartableProcess},
    telemetry::{
        otlp::model::{Attributes, Span, SpanEvent},
        prometheus::percent_encode,
    },
};

/// A running Jaeger; it ends on drop.
pub struct Jaeger {
    process: RestartableProcess,
    otlp_port: u16,
    query_port: u16,
}

impl Jaeger {
    /// Starts Jaeger and waits until it is ready.
    ///
    /// # Panics
    /// If it cannot be built or started, with its log.
    pub async fn start() -> Self {
        let binary = tokio::task::spawn_blocking(|| JAEGER.binary()).await.expect("not cancelled");
        let binary = binary.unwrap_or_else(|error| panic!("{error}"));
        let (otlp_port, query_port) = (free_port(), free_port());
        let process =
            RestartableProcess::new("jaeger", binary, vec!["--config=jaeger.yaml".to_owned()], Vec::new());
        process.write("jaeger.yaml", &configuration(otlp_port, query_port, free_port()));
        let mut jaeger = Self { process, otlp_port, query_port };
        jaeger.process.start();
        jaeger
            .process
            .wait_ready(async || match http::get(query_port, "/api/services", "application/json").await {
                Ok(answer) if answer.status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            })
            .await;
        jaeger
    }

    /// `host:port` of its OTLP receiver (gRPC).
    #[must_use]
    pub fn otlp(&self) -> String {
        format!("127.0.0.1:{}", self.otlp_port)
    }

    /// The URL of its query API.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.query_port)
    }

    /// The spans of a trace, by start time; empty if the trace is unknown.
    ///
    /// # Panics
    /// If Jaeger does not answer.
    pub async fn trace(&self, trace_id: &str) -> Vec<Span> {
        self.query(&format!("/api/traces/{trace_id}")).await
    }

    /// The spans of a service that have these tags, as a user finds them by a search; other spans of their
    /// traces are left out.
    ///
    /// # Panics
    /// If Jaeger does not answer.
    pub async fn find(&self, service: &str, tags: &[(&str, &str)]) -> Vec<Span> {
        let pairs: BTreeMap<_, _> = tags.iter().copied().collect();
        let pairs = percent_encode(&json!(pairs).to_string());
        let path = format!("/api/traces?service={service}&tags={pairs}&lookback=1h&limit=1000");
        let has = |span: &Span, key: &str, value: &str| match key {
            "span.kind" => span.kind == value,
            "error" => (span.status == "error").to_string() == value,
            _ => span.attribute(key) == value,
        };
        let mut spans = self.query(&path).await;
        spans.retain(|span| {
            span.resource["service.name"] == service && tags.iter().all(|(key, value)| has(span, key, value))
        });
        spans
    }

    /// The spans of all traces that a path of the query API returns, by start time.
    async fn query(&self, path: &str) -> Vec<Span> {
        let answer = http::get(self.query_port, path, "application/json").await;
        let answer = answer.unwrap_or_else(|error| panic!("Jaeger: {error}\n{}", self.process.log_tail()));
        let json: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let mut spans: Vec<Span> = Vec::new();
        for trace in json["data"].as_array().into_iter().flatten() {
            let resource_of =
                |span: &Value| resource(&trace["processes"][span["processID"].as_str().unwrap_or_default()]);
            spans.extend(
                trace["spans"].as_array().into_iter().flatten().map(|found| span(found, resource_of(found))),
            );
        }
        spans.sort_by(|a, b| (a.start, &a.span_id).cmp(&(b.start, &b.span_id)));
        spans
    }

    /// Waits until the trace is `complete`.
    ///
    /// # Panics
    /// After `timeout`, with the names of the spans received.
    pub async fn wait_for_trace(
        &self,
        trace_id: &str,
        timeout: Duration,
        complete: impl Fn(&[Span]) -> bool,
    ) -> Vec<Span> {
        let what = format!("trace {trace_id} is in Jaeger");
        eventually(&what, timeout, async || {
            let spans = self.trace(trace_id).await;
            let names: Vec<String> = spans.iter().map(|span| span.name.clone()).collect();
            if complete(&spans) { Ok(spans) } else { Err(format!("{names:?}")) }
        })
        .await
    }
}

fn configuration(otlp: u16, query: u16, grpc: u16) -> String {
    format!(
        "service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces: {{receivers: [otlp], exporters: [jaeger_storage_exporter]}}
  telemetry:
    metrics: {{level: none}}
extensions:
  jaeger_storage:
    backends:
      here: {{memory: {{max_traces: 100000}}}}
  jaeger_query:
    storage: {{traces: here}}
    http: {{endpoint: \"127.0.0.1:{query}\"}}
    grpc: {{endpoint: \"127.0.0.1:{grpc}\"}}
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: \"127.0.0.1:{otlp}\"}}
exporters:
  jaeger_storage_exporter: {{trace_storage: here}}
"
    )
}

/// Jaeger has a resolution of microseconds, and stores the span kind and status as tags.
fn span(found: &Value, resource: Attributes) -> Span {
    let trace_id = id(&found["traceID"], 32);
    let mut attributes = pairs(&found["tags"]);
    let mut take = |key: &str| attributes.remove(key).unwrap_or_default();
    let (kind, code, message, scope) = (
        take("span.kind"),
        take("otel.status_code"),
        take("otel.status_description"),
        take("otel.scope.name"),
    );
    let failed = take("error") == "true";
    let references = || found["references"].as_array().into_iter().flatten();
    let reference = |value: &Value| (id(&value["traceID"], 32), id(&value["spanID"], 16));
    let is_parent = |value: &&Value| value["refType"] == "CHILD_OF" && id(&value["traceID"], 32) == trace_id;
    let parent_id = references().find(is_parent).map(|value| reference(value).1).unwrap_or_default();
    let links = references().filter(|value| !is_parent(value)).map(reference).collect();
    let start = micros(&found["startTime"]);
    Span {
        span_id: id(&found["spanID"], 16),
        parent_id,
        name: text(&found["operationName"]),
        kind: ["server", "client", "producer", "consumer"]
            .into_iter()
            .find(|known| *known == kind)
            .unwrap_or("internal"),
        start,
        end: start + micros(&found["duration"]),
        status: match code.as_str() {
            "OK" => "ok",
            "ERROR" => "error",
            _ if failed => "error",
            _ => "unset",
        },
        status_message: message,
        events: found["logs"].as_array().into_iter().flatten().map(event).collect(),
        links,
        resource,
        scope,
        attributes,
        trace_id,
    }
}

fn event(log: &Value) -> SpanEvent {
    let mut attributes = pairs(&log["fields"]);
    SpanEvent {
        name: attributes.remove("event").unwrap_or_default(),
        time: micros(&log["timestamp"]),
        attributes,
    }
}

fn resource(process: &Value) -> Attributes {
    let mut resource = pairs(&process["tags"]);
    resource.insert("service.name".to_owned(), text(&process["serviceName"]));
    resource
}

fn pairs(tags: &Value) -> Attributes {
    tags.as_array().into_iter().flatten().map(|tag| (text(&tag["key"]), text(&tag["value"]))).collect()
}

fn micros(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default() * 1000
}

fn id(value: &Value, digits: usize) -> String {
    format!("{:0>digits$}", text(value))
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| if value.is_null() { String::new() } else { value.to_string() }, str::to_owned)
}
