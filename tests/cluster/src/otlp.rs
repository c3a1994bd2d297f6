//! A real OTLP receiver (gRPC) that keeps what it was sent.
use std::collections::BTreeMap;
use std::time::Duration;

/// Attribute values as text; arrays as JSON.
pub type Attributes = BTreeMap<String, String>;

/// A span as it was received.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub trace_id: String,
    pub span_id: String,
    /// Empty for a root.
    pub parent_id: String,
    pub name: String,
    /// `internal`, `server`, `client`, `producer`, `consumer`.
    pub kind: &'static str,
    /// Nanoseconds since the epoch.
    pub start: u64,
    pub end: u64,
    /// `unset`, `ok`, `error`.
    pub status: &'static str,
    pub status_message: String,
    pub attributes: Attributes,
    pub events: Vec<SpanEvent>,
    /// (trace id, span id)
    pub links: Vec<(String, String)>,
    pub resource: Attributes,
    pub scope: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SpanEvent {
    pub name: String,
    pub time: u64,
    pub attributes: Attributes,
}

/// A log record as it was received.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    pub event_name: String,
    pub body: String,
    pub severity: String,
    pub trace_id: String,
    pub span_id: String,
    pub time: u64,
    pub attributes: Attributes,
    pub resource: Attributes,
    pub scope: String,
}

/// How the receiver answers.
#[derive(Clone, Debug)]
pub enum Fault {
    None,
    Status(tonic::Code, String),
    Slow(Duration),
}

pub struct OtlpReceiver {}

impl OtlpReceiver {
    pub async fn start() -> Self {
        todo!()
    }
    /// `http://127.0.0.1:PORT`
    pub fn endpoint(&self) -> String {
        todo!()
    }
    pub fn spans(&self) -> Vec<Span> {
        todo!()
    }
    pub fn logs(&self) -> Vec<Log> {
        todo!()
    }
    /// Every export of metrics, as received.
    pub fn metrics(&self) -> Vec<opentelemetry_proto::tonic::metrics::v1::ResourceMetrics> {
        todo!()
    }
    pub fn trace(&self, trace_id: &str) -> Vec<Span> {
        todo!()
    }
    pub async fn wait_for_span(&self, what: &str, timeout: Duration, pred: impl Fn(&Span) -> bool) -> Span {
        todo!()
    }
    pub async fn wait_for_log(&self, what: &str, timeout: Duration, pred: impl Fn(&Log) -> bool) -> Log {
        todo!()
    }
    pub fn clear(&self) {
        todo!()
    }
    pub fn fail_with(&self, fault: Fault) {
        todo!()
    }
    /// Closes every connection and the port.
    pub fn stop(&mut self) {
        todo!()
    }
    /// Listens again on the same port.
    pub async fn restart(&mut self) {
        todo!()
    }
    /// Requests received, failed ones too.
    pub fn requests(&self) -> usize {
        todo!()
    }
}
