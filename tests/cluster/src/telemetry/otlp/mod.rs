//! An OTLP receiver, gRPC and HTTP, that stores what it receives and can be made to fail as collectors do. It
//! does not interpret signals.

mod grpc;
mod http;
pub(crate) mod model;
mod store;

use std::{net::Ipv4Addr, time::Duration};

use opentelemetry_proto::tonic::metrics::v1::ResourceMetrics;
use tokio::{net::TcpListener, runtime::Runtime};
use tonic::transport::server::TcpIncoming;

use crate::{eventually, process::free_port};

use store::{SharedStore, Store};

pub use model::{Attributes, LogRecord, Span, SpanEvent, attributes};
pub use store::{ExportRequest, ReceiverFault};

/// How long closed sockets may keep a port busy.
const BIND_TIMEOUT: Duration = Duration::from_secs(5);

/// A running receiver. It has its own runtime, so that a blocking test does not slow it down, and so that it
/// can be stopped abruptly.
pub struct OtlpReceiver {
    store: SharedStore,
    runtime: Option<Runtime>,
    grpc_port: u16,
    http_port: u16,
}

impl OtlpReceiver {
    /// Listens on free ports of loopback.
    ///
    /// # Panics
    /// If it cannot.
    pub async fn start() -> Self {
        let mut receiver = Self {
            store: SharedStore::default(),
            runtime: None,
            grpc_port: free_port(),
            http_port: free_port(),
        };
        receiver.restart().await;
        receiver
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.grpc_port)
    }

    /// The same for `OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf`.
    #[must_use]
    pub fn http_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.http_port)
    }

    /// That of the two which a value of `OTEL_EXPORTER_OTLP_PROTOCOL` names.
    #[must_use]
    pub fn endpoint_for(&self, protocol: &str) -> String {
        if protocol == "grpc" { self.endpoint() } else { self.http_endpoint() }
    }

    /// All spans received.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.store.lock().spans.clone()
    }

    /// All log records received.
    #[must_use]
    pub fn logs(&self) -> Vec<LogRecord> {
        self.store.lock().logs.clone()
    }

    /// All metrics received, unconverted.
    #[must_use]
    pub fn metrics(&self) -> Vec<ResourceMetrics> {
        self.store.lock().metrics.clone()
    }

    /// All requests, including refused ones.
    #[must_use]
    pub fn exports(&self) -> Vec<ExportRequest> {
        self.store.lock().exports.clone()
    }

    /// The spans of a trace, by start time; a span that was sent twice is returned once, as by a backend.
    #[must_use]
    pub fn trace(&self, trace_id: &str) -> Vec<Span> {
        let mut spans = self.spans();
        spans.retain(|span| span.trace_id == trace_id);
        spans.sort_by(|a, b| (a.start, &a.span_id).cmp(&(b.start, &b.span_id)));
        spans.dedup();
        spans
    }

    /// Waits for a span that matches.
    ///
    /// # Panics
    /// After `timeout`, with the names of the spans received.
    pub async fn wait_for_span(
        &self,
        what: &str,
        timeout: Duration,
        predicate: impl Fn(&Span) -> bool,
    ) -> Span {
        eventually(what, timeout, async || {
            let spans = self.spans();
            let names = || -> Vec<String> { spans.iter().map(|span| span.name.clone()).collect() };
            spans.iter().find(|span| predicate(span)).cloned().ok_or_else(|| format!("spans {:?}", names()))
        })
        .await
    }

    /// Waits for a log record that matches.
    ///
    /// # Panics
    /// After `timeout`, with the bodies of the records received.
    pub async fn wait_for_log(
        &self,
        what: &str,
        timeout: Duration,
        predicate: impl Fn(&LogRecord) -> bool,
    ) -> LogRecord {
        eventually(what, timeout, async || {
            let logs = self.logs();
            let bodies = || -> Vec<String> { logs.iter().map(|log| log.body.clone()).collect() };
            logs.iter()
                .find(|log| predicate(log))
                .cloned()
                .ok_or_else(|| format!("log records {:?}", bodies()))
        })
        .await
    }

    /// Removes everything received.
    pub fn clear(&self) {
        let mut store = self.store.lock();
        *store = Store { fault: store.fault.clone(), ..Store::default() };
    }

    /// Sets how it responds from now on.
    pub fn set_fault(&self, fault: ReceiverFault) {
        self.store.lock().fault = fault;
    }

    /// Closes all ports and connections at once, like a collector that is killed.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // On another thread, because a runtime's thread may not block on another runtime.
            let stopped = std::thread::spawn(move || runtime.shutdown_timeout(BIND_TIMEOUT)).join();
            stopped.expect("the receiver stops");
        }
    }

    /// Listens again on the same ports.
    ///
    /// # Panics
    /// If a port is taken.
    pub async fn restart(&mut self) {
        self.stop();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("otlp-receiver")
            .enable_all()
            .build()
            .expect("a runtime");
        let (grpc, http) = (bind(self.grpc_port).await, bind(self.http_port).await);
        let store = self.store.clone();
        runtime.spawn(async move {
            let (grpc, http) = (
                TcpListener::from_std(grpc).expect("a socket"),
                TcpListener::from_std(http).expect("a socket"),
            );
            tokio::join!(grpc::serve(TcpIncoming::from(grpc), store.clone()), http::serve(http, store));
        });
        self.runtime = Some(runtime);
    }
}

impl Drop for OtlpReceiver {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Binds a port; after a stop the old socket may still be open for a short time.
async fn bind(port: u16) -> std::net::TcpListener {
    let what = "the receiver's port is free";
    let listener =
        eventually(what, BIND_TIMEOUT, async || std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)))
            .await;
    listener.set_nonblocking(true).expect("a socket");
    listener
}
