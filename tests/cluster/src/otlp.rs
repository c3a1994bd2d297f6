//! A real OTLP receiver (gRPC) that keeps what it was sent, and can be made to fail as collectors do. Interprets nothing.

use crate::process::free_port;
use crate::wait::eventually;
use opentelemetry_proto::tonic::collector::logs::v1 as logs;
use opentelemetry_proto::tonic::collector::metrics::v1 as metrics;
use opentelemetry_proto::tonic::collector::trace::v1 as trace;
use opentelemetry_proto::tonic::metrics::v1::ResourceMetrics;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;
use tonic::codec::CompressionEncoding;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

pub use crate::signals::{Attributes, Log, Span, SpanEvent};

const BIND: Duration = Duration::from_secs(5);

/// How the receiver answers.
#[derive(Clone, Debug, Default)]
pub enum Fault {
    /// As it should.
    #[default]
    None,
    /// Refuses with this code; nothing is kept.
    Status(tonic::Code, String),
    /// Answers after this long.
    Slow(Duration),
}

/// One export request, kept or not.
#[derive(Clone, Debug)]
pub struct Export {
    /// `traces`, `metrics`, `logs`.
    pub signal: &'static str,
    /// The request's headers.
    pub headers: BTreeMap<String, String>,
    /// Whether it was answered with success.
    pub accepted: bool,
}

#[derive(Default)]
struct Store {
    spans: Vec<Span>,
    logs: Vec<Log>,
    metrics: Vec<ResourceMetrics>,
    exports: Vec<Export>,
    fault: Fault,
}

/// A running receiver. It has a runtime of its own, so that a test that blocks does not slow it, and so that its end is abrupt.
pub struct OtlpReceiver {
    store: Arc<Mutex<Store>>,
    runtime: Option<Runtime>,
    port: u16,
}

impl OtlpReceiver {
    /// Listens on a free port of loopback.
    ///
    /// # Panics
    /// When it cannot.
    pub async fn start() -> Self {
        let mut receiver = Self { store: Arc::default(), runtime: None, port: free_port() };
        receiver.restart().await;
        receiver
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Every span received.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.store().spans.clone()
    }

    /// Every log record received.
    #[must_use]
    pub fn logs(&self) -> Vec<Log> {
        self.store().logs.clone()
    }

    /// Every export of metrics, as it came.
    #[must_use]
    pub fn metrics(&self) -> Vec<ResourceMetrics> {
        self.store().metrics.clone()
    }

    /// Every request, failed ones too.
    #[must_use]
    pub fn exports(&self) -> Vec<Export> {
        self.store().exports.clone()
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
        let mut store = self.store();
        *store = Store { fault: store.fault.clone(), ..Store::default() };
    }

    /// From now on it answers so.
    pub fn answer(&self, fault: Fault) {
        self.store().fault = fault;
    }

    /// Closes the port and every connection at once, as a collector that is killed.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Listens again, on the same port.
    ///
    /// # Panics
    /// When the port is taken.
    pub async fn restart(&mut self) {
        self.stop();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("otlp-receiver")
            .enable_all()
            .build()
            .expect("a runtime");
        let port = self.port;
        let listener = eventually("the receiver's port is free", BIND, async || {
            // After a stop the old socket may live for a moment longer.
            std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        })
        .await;
        listener.set_nonblocking(true).expect("a socket");
        let service = Service(Arc::clone(&self.store));
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
            serve(TcpIncoming::from(listener), service).await;
        });
        self.runtime = Some(runtime);
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OtlpReceiver {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn serve(incoming: TcpIncoming, service: Service) {
    const LARGEST: usize = 64 * 1024 * 1024;
    let served = Server::builder()
        .add_service(
            trace::trace_service_server::TraceServiceServer::new(service.clone())
                .accept_compressed(CompressionEncoding::Gzip)
                .max_decoding_message_size(LARGEST),
        )
        .add_service(
            metrics::metrics_service_server::MetricsServiceServer::new(service.clone())
                .accept_compressed(CompressionEncoding::Gzip)
                .max_decoding_message_size(LARGEST),
        )
        .add_service(
            logs::logs_service_server::LogsServiceServer::new(service)
                .accept_compressed(CompressionEncoding::Gzip)
                .max_decoding_message_size(LARGEST),
        )
        .serve_with_incoming(incoming)
        .await;
    served.expect("the receiver serves");
}

#[derive(Clone)]
struct Service(Arc<Mutex<Store>>);

impl Service {
    /// Notes the request, answers as told, and keeps the content when the answer is yes.
    async fn receive<T>(&self, signal: &'static str, request: Request<T>, keep: impl FnOnce(&mut Store, T)) -> Result<(), Status> {
        let fault = self.store().fault.clone();
        if let Fault::Slow(time) = fault {
            tokio::time::sleep(time).await;
        }
        let headers = request
            .metadata()
            .iter()
            .filter_map(|entry| match entry {
                tonic::metadata::KeyAndValueRef::Ascii(key, value) => {
                    Some((key.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                }
                tonic::metadata::KeyAndValueRef::Binary(..) => None,
            })
            .collect();
        let mut store = self.store();
        let accepted = !matches!(fault, Fault::Status(..));
        store.exports.push(Export { signal, headers, accepted });
        if let Fault::Status(code, message) = fault {
            return Err(Status::new(code, message));
        }
        keep(&mut store, request.into_inner());
        Ok(())
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tonic::async_trait]
impl trace::trace_service_server::TraceService for Service {
    async fn export(
        &self,
        request: Request<trace::ExportTraceServiceRequest>,
    ) -> Result<Response<trace::ExportTraceServiceResponse>, Status> {
        self.receive("traces", request, |store, content| {
            store.spans.extend(crate::signals::spans(content));
        })
        .await?;
        Ok(Response::new(trace::ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl logs::logs_service_server::LogsService for Service {
    async fn export(&self, request: Request<logs::ExportLogsServiceRequest>) -> Result<Response<logs::ExportLogsServiceResponse>, Status> {
        self.receive("logs", request, |store, content| {
            store.logs.extend(crate::signals::logs(content));
        })
        .await?;
        Ok(Response::new(logs::ExportLogsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl metrics::metrics_service_server::MetricsService for Service {
    async fn export(
        &self,
        request: Request<metrics::ExportMetricsServiceRequest>,
    ) -> Result<Response<metrics::ExportMetricsServiceResponse>, Status> {
        self.receive("metrics", request, |store, content| {
            store.metrics.extend(content.resource_metrics);
        })
        .await?;
        Ok(Response::new(metrics::ExportMetricsServiceResponse::default()))
    }
}
