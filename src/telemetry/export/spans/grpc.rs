//! One export over gRPC; it knows no spans and never retries.

use bytes::{Buf as _, BufMut as _, Bytes};
use http::uri::PathAndQuery;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use tonic::{
    Code, Extensions, Request, Status,
    client::Grpc,
    codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataMap,
    transport::Channel,
};
use tonic_types::StatusExt as _;

use super::retry::{FailedAttempt, Retry};
use crate::telemetry::sources::error_chain::error_chain;

const METHOD: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Sends requests over a channel.
pub(in crate::telemetry) struct GrpcSender {
    client: Grpc<Channel>,
    metadata: MetadataMap,
}

impl GrpcSender {
    pub(super) fn new(channel: Channel, metadata: MetadataMap, gzip: bool) -> Self {
        let mut client = Grpc::new(channel);
        if gzip {
            client = client
                .send_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Gzip);
        }
        Self { client, metadata }
    }

    pub(super) async fn send(
        &self,
        request: Vec<Bytes>,
    ) -> Result<ExportTraceServiceResponse, FailedAttempt> {
        let mut client = self.client.clone();
        client
            .ready()
            .await
            .map_err(|error| FailedAttempt { message: error_chain(&error), retry: Retry::Backoff })?;
        let request = Request::from_parts(self.metadata.clone(), Extensions::default(), request);
        let response = client.unary(request, PathAndQuery::from_static(METHOD), EncodedRequest).await;
        response.map(tonic::Response::into_inner).map_err(|status| failed(&status))
    }
}

fn failed(status: &Status) -> FailedAttempt {
    let message = match std::error::Error::source(status) {
        Some(cause) => format!("gRPC status {:?}: {}", status.code(), error_chain(cause)),
        None => format!("gRPC status {:?}", status.code()),
    };
    FailedAttempt { message, retry: retry(status) }
}

fn retry(status: &Status) -> Retry {
    let pause = status.get_details_retry_info().and_then(|info| info.retry_delay);
    match (status.code(), pause) {
        (Code::ResourceExhausted | Code::Unavailable, Some(pause)) => Retry::After(pause),
        (
            Code::Unavailable
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::DataLoss,
            _,
        ) => Retry::Backoff,
        _ => Retry::Never,
    }
}

/// Codec for an already encoded request, in parts, and a response message.
struct EncodedRequest;

impl Codec for EncodedRequest {
    type Encode = Vec<Bytes>;
    type Decode = ExportTraceServiceResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self::Encoder {
        Self
    }

    fn decoder(&mut self) -> Self::Decoder {
        Self
    }
}

impl Encoder for EncodedRequest {
    type Item = Vec<Bytes>;
    type Error = Status;

    fn encode(&mut self, request: Vec<Bytes>, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.reserve(request.iter().map(Bytes::len).sum());
        for part in request {
            into.put(part);
        }
        Ok(())
    }
}

impl Decoder for EncodedRequest {
    type Item = ExportTraceServiceResponse;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let decoded = ExportTraceServiceResponse::decode(from.copy_to_bytes(from.remaining()));
        decoded.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn only_retryable_statuses_are_retried() {
        let second = Duration::from_secs(1);
        let rows = [
            (Code::Unavailable, None, Retry::Backoff),
            (Code::Unavailable, Some(second), Retry::After(second)),
            (Code::ResourceExhausted, Some(second), Retry::After(second)),
            (Code::ResourceExhausted, None, Retry::Never),
            (Code::Cancelled, None, Retry::Backoff),
            (Code::DeadlineExceeded, None, Retry::Backoff),
            (Code::Aborted, None, Retry::Backoff),
            (Code::OutOfRange, None, Retry::Backoff),
            (Code::DataLoss, None, Retry::Backoff),
            (Code::InvalidArgument, Some(second), Retry::Never),
            (Code::Unauthenticated, None, Retry::Never),
            (Code::PermissionDenied, None, Retry::Never),
            (Code::Unimplemented, None, Retry::Never),
            (Code::Internal, None, Retry::Never),
            (Code::Unknown, None, Retry::Never),
        ];
        for (code, pause, expected) in rows {
            let status = match pause {
                None => Status::new(code, "token s3cret"),
                Some(_) => {
                    Status::with_error_details(code, "token s3cret", ErrorDetails::with_retry_info(pause))
                }
            };
            let failed = failed(&status);
            assert_eq!(failed.retry, expected, "{code:?} {pause:?}");
            assert_eq!(failed.message, format!("gRPC status {code:?}"), "the collector's text stays out");
        }
    }
}
