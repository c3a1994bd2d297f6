//! OTLP over HTTP with protobuf bodies (`http/protobuf`), plain or gzip. It stores nothing itself.

use std::{convert::Infallible, io::Read as _};

use flate2::read::GzDecoder;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest,
    metrics::v1::ExportMetricsServiceRequest,
    trace::v1::{ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse},
};
use prost::Message as _;
use tokio::net::TcpListener;

use crate::telemetry::otlp::{
    model,
    store::{self, ExportRequest, Rejected, SharedStore, Store},
};

/// Stores a request's content if it is accepted.
type Save = Box<dyn FnOnce(&mut Store) + Send>;

/// Serves until dropped.
pub(crate) async fn serve(listener: TcpListener, store: SharedStore) {
    while let Ok((stream, _)) = listener.accept().await {
        let store = store.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| export(request, &store));
            // The exporter retries a failed connection.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn export(
    request: http::Request<Incoming>,
    store: &SharedStore,
) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let received = match body.collect().await {
        Ok(body) => decode(head.uri.path(), &head.headers, &body.to_bytes()),
        Err(error) => Err((StatusCode::BAD_REQUEST, error.to_string())),
    };
    let result = match received {
        Ok((signal, save)) => {
            let headers = head.headers.iter().map(|(name, value)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            });
            let export =
                ExportRequest { signal, protocol: "http", headers: store::headers(headers), accepted: false };
            store.receive(export, save).await.map_err(|(code, message)| (status(code), message))
        }
        Err(refused) => Err(refused),
    };
    let (status, body) = match result {
        // A successful response is a message without fields, thus an empty body.
        Ok(None) => (StatusCode::OK, Vec::new()),
        Ok(Some(rejected)) => (StatusCode::OK, partial_success(rejected)),
        Err((status, message)) => (status, message.into_bytes()),
    };
    let response =
        http::Response::builder().status(status).header(header::CONTENT_TYPE, "application/x-protobuf");
    Ok(response.body(Full::new(Bytes::from(body))).expect("valid headers"))
}

/// The fields have the same numbers in the messages of all signals.
fn partial_success(rejected: Rejected) -> Vec<u8> {
    let Rejected { items, message } = rejected;
    let partial_success = ExportTracePartialSuccess { rejected_spans: items, error_message: message };
    ExportTraceServiceResponse { partial_success: Some(partial_success) }.encode_to_vec()
}

fn decode(
    path: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(&'static str, Save), (StatusCode, String)> {
    let bad_request = |error: &dyn std::fmt::Display| (StatusCode::BAD_REQUEST, error.to_string());
    let is = |name, value: &str| headers.get(name).is_some_and(|found| found == value);
    if !is(header::CONTENT_TYPE, "application/x-protobuf") {
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "only application/x-protobuf".to_owned()));
    }
    let mut decoded = Vec::new();
    if is(header::CONTENT_ENCODING, "gzip") {
        GzDecoder::new(body).read_to_end(&mut decoded).map_err(|error| bad_request(&error))?;
    } else {
        decoded.extend_from_slice(body);
    }
    let decoded = decoded.as_slice();
    match path {
        "/v1/traces" => {
            let content = ExportTraceServiceRequest::decode(decoded).map_err(|error| bad_request(&error))?;
            Ok(("traces", Box::new(|store| store.spans.extend(model::spans(content)))))
        }
        "/v1/logs" => {
            let content = ExportLogsServiceRequest::decode(decoded).map_err(|error| bad_request(&error))?;
            Ok(("logs", Box::new(|store| store.logs.extend(model::logs(content)))))
        }
        "/v1/metrics" => {
            let content =
                ExportMetricsServiceRequest::decode(decoded).map_err(|error| bad_request(&error))?;
            Ok(("metrics", Box::new(|store| store.metrics.extend(content.resource_metrics))))
        }
        other => Err((StatusCode::NOT_FOUND, format!("unknown path {other}"))),
    }
}

/// The HTTP status code with which a collector reports a gRPC code.
fn status(code: tonic::Code) -> StatusCode {
    match code {
        tonic::Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        tonic::Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        tonic::Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        tonic::Code::PermissionDenied => StatusCode::FORBIDDEN,
        tonic::Code::InvalidArgument => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
