//! A real OTLP receiver, gRPC and HTTP, that keeps what it was sent, and can be made to fail as collectors
//! do. Interprets nothing.

pub use crate::otlp_store::{Export, Fault};
use std::{net::Ipv4Addr, time::Duration};

use opentelemetry_proto::tonic::metrics::v1::ResourceMetrics;
use tokio::{net::TcpListener, runtime::Runtime};
use tonic::transport::server::TcpIncoming;

use crate::{
    otlp_grpc, otlp_http,
    otlp_store::{Shared, Store},
    process::free_port,
    wait::eventually,
};

pub use crate::signals::{Attributes, Log, Span, SpanEvent};

const BIND: Duration = Duration::from_secs(5);

/// A running receiver. It has a runtime of its own, so that a test that blocks does not slow it, and so that
/// its end is abrupt.
pub struct OtlpReceiver {
    store: Shared,
    runtime: Option<Runtime>,
    port: u16,
    http_port: u16,
}

impl OtlpReceiver {
    /// Listens on a free port of loopback.
    ///
    /// # Panics
    /// When it cannot.
    pub async fn start() -> Self {
        let mut receiver =
            Self { store: Shared::default(), runtime: None, port: free_port(), http_port: free_port() };
        receiver.restart().await;
        receiver
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The same for `OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf`.
    #[must_use]
    pub fn http_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.http_port)
    }

    /// Every span received.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.store.lock().spans.clone()
    }

    /// Every log record received.
    #[must_use]
    pub fn logs(&self) -> Vec<Log> {
        self.store.lock().logs.clone()
    }

    /// Every export of metrics, as it came.
    #[must_use]
    pub fn metrics(&self) -> Vec<ResourceMetrics> {
        self.store.lock().metrics.clone()
    }

    /// Every request, failed ones too.
    #[must_use]
    pub fn exports(&self) -> Vec<Export> {
        self.store.lock().exports.clone()
    }

    /// The spans of one trace, by start; a span that was sent twice stands once, as in a backend.
    #[must_use]
    pub fn trace(&self, trace_id: &str) -> Vec<Span> {
        let mut spans = self.spans();
        spans.retain(|span| span.trace_id == trace_id);
        spans.sort_by(|a, b| (a.start, &a.span_id).cmp(&(b.start, &b.span_id)));
        spans.dedup();
        spans
    }

    /// The first span that `wanted` says.
    ///
    /// # Panics
    /// When there is none after `timeout`, with the names of those that came.
    pub async fn wait_for_span(&self, what: &str, timeout: Duration, wanted: impl Fn(&Span) -> bool) -> Span {
        eventually(what, timeout, async || {
            let spans = self.spans();
            let names = || -> Vec<String> { spans.iter().map(|span| span.name.clone()).collect() };
            spans.iter().find(|span| wanted(span)).cloned().ok_or_else(|| format!("spans {:?}", names()))
        })
        .await
    }

    /// The first log record that `wanted` says.
    ///
    /// # Panics
    /// When there is none after `timeout`, with the bodies of those that came.
    pub async fn wait_for_log(&self, what: &str, timeout: Duration, wanted: impl Fn(&Log) -> bool) -> Log {
        eventually(what, timeout, async || {
            let logs = self.logs();
            let bodies = || -> Vec<String> { logs.iter().map(|log| log.body.clone()).collect() };
            logs.iter().find(|log| wanted(log)).cloned().ok_or_else(|| format!("log records {:?}", bodies()))
        })
        .await
    }

    /// Forgets everything received.
    pub fn clear(&self) {
        let mut store = self.store.lock();
        *store = Store { fault: store.fault.clone(), ..Store::default() };
    }

    /// From now on it answers so.
    pub fn answer(&self, fault: Fault) {
        self.store.lock().fault = fault;
    }

    /// Closes the ports and every connection at once, as a collector that is killed.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // On a thread of its own, because a runtime's thread may not wait for another runtime.
            let ended = std::thread::spawn(move || runtime.shutdown_timeout(BIND)).join();
            ended.expect("the receiver ends");
        }
    }

    /// Listens again, on the same ports.
    ///
    /// # Panics
    /// When a port is taken.
    pub async fn restart(&mut self) {
        self.stop();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("otlp-receiver")
            .enable_all()
            .build()
            .expect("a runtime");
        let (grpc, http) = (bind(self.port).await, bind(self.http_port).await);
        let store = self.store.clone();
        runtime.spawn(async move {
            let (grpc, http) = (
                TcpListener::from_std(grpc).expect("a socket"),
                TcpListener::from_std(http).expect("a socket"),
            );
            tokio::join!(
                otlp_grpc::serve(TcpIncoming::from(grpc), store.clone()),
                otlp_http::serve(http, store)
            );
        });
        self.runtime = Some(runtime);
    }
}

impl Drop for OtlpReceiver {
    fn drop(&mut self) {
        self.stop();
    }
}

/// After a stop the old socket may live for a moment longer.
async fn bind(port: u16) -> std::net::TcpListener {
    let what = "the receiver's port is free";
    let listener =
        eventually(what, BIND, async || std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))).await;
    listener.set_nonblocking(true).expect("a socket");
    listener
}
