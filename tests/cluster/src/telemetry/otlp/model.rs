//! OTLP's spans and log records as plain values that tests can compare. Pure.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, KeyValue, any_value::Value},
    logs::v1 as proto_logs,
    resource::v1::Resource,
    trace::v1 as proto_trace,
};

/// Attributes with values as text; arrays and maps are JSON.
pub type Attributes = BTreeMap<String, String>;

/// A span. Ids are lower-case hex.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    /// Empty for a root.
    pub parent_id: String,
    /// Its name.
    pub name: String,
    /// `internal`, `server`, `client`, `producer`, `consumer`.
    pub kind: &'static str,
    /// Nanoseconds since the epoch.
    pub start: u64,
    /// Nanoseconds since the epoch.
    pub end: u64,
    /// `unset`, `ok`, `error`.
    pub status: &'static str,
    /// The status description of an `error`.
    pub status_message: String,
    /// Its attributes.
    pub attributes: Attributes,
    /// Span events, such as `exception`.
    pub events: Vec<SpanEvent>,
    /// (trace id, span id)
    pub links: Vec<(String, String)>,
    /// Resource attributes.
    pub resource: Attributes,
    /// The name of the instrumentation scope.
    pub scope: String,
}

impl Span {
    /// The time from start to end.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.end.saturating_sub(self.start))
    }

    /// An attribute's value; empty if it is missing.
    #[must_use]
    pub fn attribute(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }
}

/// A span event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpanEvent {
    /// Its name.
    pub name: String,
    /// Nanoseconds since the epoch.
    pub time: u64,
    /// Its attributes.
    pub attributes: Attributes,
}

/// A log record. Ids are lower-case hex, or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogRecord {
    /// `k8s.event`, or empty.
    pub event_name: String,
    /// The message.
    pub body: String,
    /// `INFO`, …
    pub severity: String,
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    /// Nanoseconds since the epoch; the observed time if there is no other.
    pub time: u64,
    /// Its attributes.
    pub attributes: Attributes,
    /// Resource attributes.
    pub resource: Attributes,
    /// The name of the instrumentation scope.
    pub scope: String,
}

pub(crate) fn spans(request: ExportTraceServiceRequest) -> Vec<Span> {
    let mut all = Vec::new();
    for by_resource in request.resource_spans {
        let resource = resource_attributes(by_resource.resource);
        for by_scope in by_resource.scope_spans {
            let scope = by_scope.scope.map(|scope| scope.name).unwrap_or_default();
            all.extend(by_scope.spans.into_iter().map(|received| span(received, &resource, &scope)));
        }
    }
    all
}

pub(crate) fn logs(request: ExportLogsServiceRequest) -> Vec<LogRecord> {
    let mut all = Vec::new();
    for by_resource in request.resource_logs {
        let resource = resource_attributes(by_resource.resource);
        for by_scope in by_resource.scope_logs {
            let scope = by_scope.scope.map(|scope| scope.name).unwrap_or_default();
            all.extend(by_scope.log_records.into_iter().map(|received| log(received, &resource, &scope)));
        }
    }
    all
}

fn span(received: proto_trace::Span, resource: &Attributes, scope: &str) -> Span {
    use proto_trace::{span::SpanKind, status::StatusCode};
    let kind = match received.kind() {
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
        SpanKind::Internal | SpanKind::Unspecified => "internal",
    };
    let status = received.status.unwrap_or_default();
    Span {
        trace_id: hex(&received.trace_id),
        span_id: hex(&received.span_id),
        parent_id: hex(&received.parent_span_id),
        name: received.name,
        kind,
        start: received.start_time_unix_nano,
        end: received.end_time_unix_nano,
        status: match status.code() {
            StatusCode::Unset => "unset",
            StatusCode::Ok => "ok",
            StatusCode::Error => "error",
        },
        status_message: status.message,
        attributes: attributes(received.attributes),
        events: received
            .events
            .into_iter()
            .map(|event| SpanEvent {
                name: event.name,
                time: event.time_unix_nano,
                attributes: attributes(event.attributes),
            })
            .collect(),
        links: received.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
        resource: resource.clone(),
        scope: scope.to_owned(),
    }
}

fn log(received: proto_logs::LogRecord, resource: &Attributes, scope: &str) -> LogRecord {
    let time = match received.time_unix_nano {
        0 => received.observed_time_unix_nano,
        time => time,
    };
    LogRecord {
        event_name: received.event_name,
        body: received.body.map(text).unwrap_or_default(),
        severity: received.severity_text,
        trace_id: hex(&received.trace_id),
        span_id: hex(&received.span_id),
        time,
        attributes: attributes(received.attributes),
        resource: resource.clone(),
        scope: scope.to_owned(),
    }
}

fn resource_attributes(resource: Option<Resource>) -> Attributes {
    attributes(resource.unwrap_or_default().attributes)
}

/// Converts attributes to text.
#[must_use]
pub fn attributes(received: Vec<KeyValue>) -> Attributes {
    received.into_iter().map(|pair| (pair.key, pair.value.map(text).unwrap_or_default())).collect()
}

fn text(value: AnyValue) -> String {
    match value.value {
        Some(Value::StringValue(text)) => text,
        Some(Value::BoolValue(value)) => value.to_string(),
        Some(Value::IntValue(value)) => value.to_string(),
        Some(Value::DoubleValue(value)) => value.to_string(),
        Some(Value::BytesValue(bytes)) => hex(&bytes),
        Some(Value::ArrayValue(array)) => {
            let values: Vec<String> = array.values.into_iter().map(text).collect();
            serde_json::json!(values).to_string()
        }
        Some(Value::KvlistValue(list)) => serde_json::json!(attributes(list.values)).to_string(),
        _ => String::new(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
