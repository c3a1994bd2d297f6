//! OTLP by HTTP with protobuf bodies (`http/protobuf`), plain or gzip. Keeps nothing itself.

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
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
    trace::v1::ExportTraceServiceRequest,
};
use prost::Message as _;
use tokio::net::TcpListener;

use crate::{
    otlp_store::{Export, Shared, Store},
    signals,
};

/// What a request holds, to be kept when it is accepted.
type Keep = Box<dyn FnOnce(&mut Store) + Send>;

/// Serves until it is dropped.
pub(crate) async fn serve(listener: TcpListener, store: Shared) {
    while let Ok((stream, _)) = listener.accept().await {
        let store = store.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &store));
            // A connection that fails is the exporter's to repeat.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: http::Request<Incoming>,
    store: &Shared,
) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let received = match body.collect().await {
        Ok(body) => decode(head.uri.path(), &head.headers, &body.to_bytes()),
        Err(error) => Err((StatusCode::BAD_REQUEST, error.to_string())),
    };
    let answered = match received {
        Ok((signal, keep)) => {
            let headers = head.headers.iter().map(|(name, value)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            });
            let export = Export { signal, protocol: "http", headers: headers.collect(), accepted: false };
            store.receive(export, keep).await.map_err(|(code, message)| (status(code), message))
        }
        Err(refused) => Err(refused),
    };
    // The answers of success are messages without fields: empty bodies.
    let (status, body) =
        answered.map_or_else(|(status, message)| (status, message), |()| (StatusCode::OK, String::new()));
    let response =
        http::Response::builder().status(status).header(header::CONTENT_TYPE, "application/x-protobuf");
    Ok(response.body(Full::new(Bytes::from(body))).expect("valid headers"))
}

fn decode(
    path: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(&'static str, Keep), (StatusCode, String)> {
    let bad = |error: &dyn std::fmt::Display| (StatusCode::BAD_REQUEST, error.to_string());
    let is = |name, value: &str| headers.get(name).is_some_and(|held| held == value);
    if !is(header::CONTENT_TYPE, "application/x-protobuf") {
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "only application/x-protobuf".to_owned()));
    }
    let mut plain = Vec::new();
    if is(header::CONTENT_ENCODING, "gzip") {
        GzDecoder::new(body).read_to_end(&mut plain).map_err(|error| bad(&error))?;
    } else {
        plain.extend_from_slice(body);
    }
    let plain = plain.as_slice();
    match path {
        "/v1/traces" => {
            let content = ExportTraceServiceRequest::decode(plain).map_err(|error| bad(&error))?;
            Ok(("traces", Box::new(|store| store.spans.extend(signals::spans(content)))))
        }
        "/v1/logs" => {
            let content = ExportLogsServiceRequest::decode(plain).map_err(|error| bad(&error))?;
            Ok(("logs", Box::new(|store| store.logs.extend(signals::logs(content)))))
        }
        "/v1/metrics" => {
            let content = ExportMetricsServiceRequest::decode(plain).map_err(|error| bad(&error))?;
            Ok(("metrics", Box::new(|store| store.metrics.extend(content.resource_metrics))))
        }
        other => Err((StatusCode::NOT_FOUND, format!("no {other} here"))),
    }
}

/// What a collector answers over HTTP in place of a gRPC code.
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
