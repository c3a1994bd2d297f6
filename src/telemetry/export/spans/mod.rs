//! Exports spans over OTLP. A separate implementation, because spans are most of the export and `opentelemetry-otlp`
//! and the SDK's batch processor copy each span several times (`docs/benchmark.md`). Logs and metrics still use both.

mod batch;
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
};
use tokio::task::JoinSet;
use tonic::{metadata::MetadataMap, transport::Channel};

use crate::telemetry::{
    catalog::attributes::Signal, export::http_client::RuntimeHttpClient, sources::export_stats::ExportStats,
};
use grpc::GrpcSender;
use http::HttpSender;
use request::EncodedResource;
use retry::{FailedAttempt, with_retries};

pub(in crate::telemetry) use self::{batch::OtlpBatchProcessor, request::EncodedSpans};

/// Sends over the configured protocol.
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

    /// Sends a request, given in parts.
    async fn send(&self, request: Vec<Bytes>) -> Result<ExportTraceServiceResponse, FailedAttempt> {
        match self {
            Self::Grpc(sender) => sender.send(request).await,
            Self::Http(sender) => sender.send(&request).await,
        }
    }
}

/// Exports batches of spans, and counts the spans that the collector rejects from an accepted batch.
pub(in crate::telemetry) struct OtlpSpanExporter {
    sender: Arc<SpanSender>,
    timeout: Duration,
    export_stats: Arc<ExportStats>,
    resource: Arc<EncodedResource>,
}

impl OtlpSpanExporter {
    pub(in crate::telemetry) fn new(
        sender: SpanSender,
        timeout: Duration,
        export_stats: Arc<ExportStats>,
    ) -> Self {
        Self { sender: Arc::new(sender), timeout, export_stats, resource: Arc::default() }
    }

    fn record_rejected(&self, response: ExportTraceServiceResponse) {
        let Some(partial) = response.partial_success else { return };
        let rejected = u64::try_from(partial.rejected_spans).unwrap_or_default();
        // A message without rejected spans is a warning.
        if rejected > 0 || !partial.error_message.is_empty() {
            self.export_stats.record_rejected(Signal::Traces, rejected, &partial.error_message);
        }
    }

    /// Sends a batch, with retries.
    async fn export(&self, spans: EncodedSpans) -> OTelSdkResult {
        let (sender, resource) = (Arc::clone(&self.sender), Arc::clone(&self.resource));
        let timeout = self.timeout;
        let sending = async move {
            let request = spans.into_request(&resource);
            let attempt = move || {
                let (sender, request) = (Arc::clone(&sender), request.clone());
                async move { sender.send(request).await }
            };
            with_retries(timeout, attempt).await
        };
        // A task of its own, so that a panic ends only this export. Dropping this future aborts it.
        let mut task = JoinSet::new();
        task.spawn(sending);
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

    /// Sets the resource of all spans.
    pub(in crate::telemetry) fn set_resource(&mut self, resource: &Resource) {
        self.resource = Arc::new(EncodedResource::new(resource));
    }
}

// The sender holds headers.
impl fmt::Debug for OtlpSpanExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtlpSpanExporter").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
