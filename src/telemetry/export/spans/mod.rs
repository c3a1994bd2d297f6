//! Exports spans over OTLP. Elpio's own, since spans are most of what is exported: with `opentelemetry-otlp`, all
//! traces cost 11 % more instructions instead of 7 % (`docs/benchmark.md`). Logs and metrics still use that crate.

mod grpc;
mod http;
mod protobuf;
mod request;
mod retry;

use std::{fmt, sync::Arc, time::Duration};

use ::http::{HeaderMap, Uri};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{SpanData, SpanExporter},
};
use tokio::task::JoinSet;
use tonic::{metadata::MetadataMap, transport::Channel};

use crate::telemetry::{
    catalog::attributes::Signal, export::http_client::RuntimeHttpClient, sources::export_stats::ExportStats,
};
use grpc::GrpcSender;
use http::HttpSender;
use request::{EncodedResource, encode};
use retry::{FailedAttempt, with_retries};

/// Sends over the protocol that the settings name.
pub(in crate::telemetry) enum SpanSender {
    Grpc(GrpcSender),
    Http(HttpSender),
}

impl SpanSender {
    pub(in crate::telemetry) fn grpc(channel: Channel, headers: HeaderMap, gzip: bool) -> Self {
        Self::Grpc(GrpcSender::new(channel, MetadataMap::from_headers(headers), gzip))
    }

    pub(in crate::telemetry) fn http(
        client: RuntimeHttpClient,
        endpoint: Uri,
        headers: HeaderMap,
        gzip: bool,
    ) -> Self {
        Self::Http(HttpSender::new(client, endpoint, headers, gzip))
    }

    /// What each attempt sends.
    fn body(&self, request: Vec<u8>) -> Result<Bytes, String> {
        match self {
            Self::Grpc(_) => Ok(request.into()),
            Self::Http(sender) => sender.body(request),
        }
    }

    async fn send(&self, body: Bytes) -> Result<ExportTraceServiceResponse, FailedAttempt> {
        match self {
            Self::Grpc(sender) => sender.send(body).await,
            Self::Http(sender) => sender.send(body).await,
        }
    }
}

/// Exports batches of spans, and counts what the collector rejects of one that it accepts.
pub(in crate::telemetry) struct OtlpSpanExporter {
    sender: Arc<SpanSender>,
    timeout: Duration,
    delivery: Arc<ExportStats>,
    resource: EncodedResource,
    /// Exports are made on a thread of the SDK, which has no reactor.
    runtime: tokio::runtime::Handle,
}

impl OtlpSpanExporter {
    /// Must be called inside a tokio runtime.
    pub(in crate::telemetry) fn new(
        sender: SpanSender,
        timeout: Duration,
        delivery: Arc<ExportStats>,
    ) -> Self {
        let runtime = tokio::runtime::Handle::current();
        Self { sender: Arc::new(sender), timeout, delivery, resource: EncodedResource::default(), runtime }
    }

    fn record_rejected(&self, response: ExportTraceServiceResponse) {
        let Some(partial) = response.partial_success else { return };
        let rejected = u64::try_from(partial.rejected_spans).unwrap_or_default();
        // A message without a number is a warning.
        if rejected > 0 || !partial.error_message.is_empty() {
            self.delivery.record_rejected(Signal::Traces, rejected, &partial.error_message);
        }
    }
}

// The sender holds headers.
impl fmt::Debug for OtlpSpanExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtlpSpanExporter").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl SpanExporter for OtlpSpanExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let request = encode(&batch, &self.resource);
        drop(batch);
        let body = self.sender.body(request).map_err(OTelSdkError::InternalFailure)?;
        let sender = Arc::clone(&self.sender);
        let attempt = move || {
            let (sender, body) = (Arc::clone(&sender), body.clone());
            async move { sender.send(body).await }
        };
        // Aborted when this future is dropped.
        let mut task = JoinSet::new();
        task.spawn_on(with_retries(self.timeout, attempt), &self.runtime);
        match task.join_next().await {
            Some(Ok(Ok(response))) => {
                self.record_rejected(response);
                Ok(())
            }
            Some(Ok(Err(message))) => Err(OTelSdkError::InternalFailure(message)),
            Some(Err(error)) if error.is_panic() => {
                Err(OTelSdkError::InternalFailure("the export panicked".to_owned()))
            }
            Some(Err(_)) | None => Err(OTelSdkError::InternalFailure("the runtime has ended".to_owned())),
        }
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = EncodedResource::new(resource);
    }
}
