//! OTLP over gRPC. It stores nothing itself.

use opentelemetry_proto::tonic::collector::{logs::v1 as logs, metrics::v1 as metrics, trace::v1 as trace};
use tonic::{
    Request, Response, Status,
    codec::CompressionEncoding,
    metadata::KeyAndValueRef,
    transport::{Server, server::TcpIncoming},
};

use crate::telemetry::otlp::{
    model,
    store::{self, ExportRequest, Rejected, SharedStore, Store},
};

/// Serves until dropped.
pub(crate) async fn serve(incoming: TcpIncoming, store: SharedStore) {
    const MAX_MESSAGE_SIZE: usize = 64 * 1024 * 1024;
    let service = Service(store);
    let served = Server::builder()
        .add_service(
            trace::trace_service_server::TraceServiceServer::new(service.clone())
                .accept_compressed(CompressionEncoding::Gzip)
                .max_decoding_message_size(MAX_MESSAGE_SIZE),
        )
        .add_service(
            metrics::metrics_service_server::MetricsServiceServer::new(service.clone())
                .accept_compressed(CompressionEncoding::Gzip)
                .max_decoding_message_size(MAX_MESSAGE_SIZE),
        )
        .add_service(
            logs::logs_service_server::LogsServiceServer::new(service)
                .accept_compressed(CompressionEncoding::Gzip)
                .max_decoding_message_size(MAX_MESSAGE_SIZE),
        )
        .serve_with_incoming(incoming)
        .await;
    served.expect("the receiver serves");
}

#[derive(Clone)]
struct Service(SharedStore);

impl Service {
    async fn receive<T>(
        &self,
        signal: &'static str,
        request: Request<T>,
        save: impl FnOnce(&mut Store, T),
    ) -> Result<Option<Rejected>, Status> {
        let headers = request.metadata().iter().filter_map(|entry| match entry {
            KeyAndValueRef::Ascii(key, value) => {
                Some((key.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            }
            KeyAndValueRef::Binary(..) => None,
        });
        let export =
            ExportRequest { signal, protocol: "grpc", headers: store::headers(headers), accepted: false };
        let received = self.0.receive(export, |store| save(store, request.into_inner())).await;
        received.map_err(|(code, message)| Status::new(code, message))
    }
}

#[tonic::async_trait]
impl trace::trace_service_server::TraceService for Service {
    async fn export(
        &self,
        request: Request<trace::ExportTraceServiceRequest>,
    ) -> Result<Response<trace::ExportTraceServiceResponse>, Status> {
        let rejected = self
            .receive("traces", request, |store, content| {
                store.spans.extend(model::spans(content));
            })
            .await?;
        let partial_success = rejected.map(|rejected| trace::ExportTracePartialSuccess {
            rejected_spans: rejected.items,
            error_message: rejected.message,
        });
        Ok(Response::new(trace::ExportTraceServiceResponse { partial_success }))
    }
}

#[tonic::async_trait]
impl logs::logs_service_server::LogsService for Service {
    async fn export(
        &self,
        request: Request<logs::ExportLogsServiceRequest>,
    ) -> Result<Response<logs::ExportLogsServiceResponse>, Status> {
        let rejected = self
            .receive("logs", request, |store, content| {
                store.logs.extend(model::logs(content));
            })
            .await?;
        let partial_success = rejected.map(|rejected| logs::ExportLogsPartialSuccess {
            rejected_log_records: rejected.items,
            error_message: rejected.message,
        });
        Ok(Response::new(logs::ExportLogsServiceResponse { partial_success }))
    }
}

#[tonic::async_trait]
impl metrics::metrics_service_server::MetricsService for Service {
    async fn export(
        &self,
        request: Request<metrics::ExportMetricsServiceRequest>,
    ) -> Result<Response<metrics::ExportMetricsServiceResponse>, Status> {
        let rejected = self
            .receive("metrics", request, |store, content| {
                store.metrics.extend(content.resource_metrics);
            })
            .await?;
        let partial_success = rejected.map(|rejected| metrics::ExportMetricsPartialSuccess {
            rejected_data_points: rejected.items,
            error_message: rejected.message,
        });
        Ok(Response::new(metrics::ExportMetricsServiceResponse { partial_success }))
    }
}
