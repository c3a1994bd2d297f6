//! One export over HTTP with a protobuf body; it knows no spans and never retries.

use std::{io::Write as _, time::Duration};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode, Uri,
    header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER},
};
use jiff::Timestamp;
use opentelemetry_http::{HttpClient as _, ResponseBodyTooLarge};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;

use super::retry::{FailedAttempt, Retry};
use crate::telemetry::{export::http_client::RuntimeHttpClient, sources::error_chain::error_chain};

/// The largest uncompressed body, as in `opentelemetry-otlp`.
const MAX_BODY_BYTES: usize = 64 << 20;

pub(in crate::telemetry) struct HttpSender {
    client: RuntimeHttpClient,
    endpoint: Uri,
    headers: HeaderMap,
    gzip: bool,
}

impl HttpSender {
    pub(super) fn new(client: RuntimeHttpClient, endpoint: Uri, mut headers: HeaderMap, gzip: bool) -> Self {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        if gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Self { client, endpoint, headers, gzip }
    }

    /// Built for each attempt: few exports need a second one.
    fn body(&self, request: &[Bytes]) -> Result<Bytes, String> {
        let bytes: usize = request.iter().map(Bytes::len).sum();
        if bytes > MAX_BODY_BYTES {
            return Err(format!(
                "a batch of {bytes} bytes is larger than {MAX_BODY_BYTES}; lower OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
            ));
        }
        if !self.gzip {
            return Ok(request.concat().into());
        }
        let mut encoder = GzEncoder::new(Vec::with_capacity(bytes / 8), Compression::default());
        let written = request.iter().try_for_each(|part| encoder.write_all(part));
        written.and_then(|()| encoder.finish()).map(Bytes::from).map_err(|error| error_chain(&error))
    }

    pub(super) async fn send(&self, request: &[Bytes]) -> Result<ExportTraceServiceResponse, FailedAttempt> {
        let body = self.body(request).map_err(|message| FailedAttempt { message, retry: Retry::Never })?;
        let mut request = http::Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint.clone();
        *request.headers_mut() = self.headers.clone();
        let response = self.client.send_bytes(request).await.map_err(|error| FailedAttempt {
            message: error_chain(error.as_ref()),
            // The result is unknown: the collector may have accepted the export.
            retry: if error.is::<ResponseBodyTooLarge>() { Retry::Never } else { Retry::Backoff },
        })?;
        let status = response.status();
        if !status.is_success() {
            let retry = retry(status, response.headers());
            return Err(FailedAttempt { message: format!("HTTP status {status}"), retry });
        }
        // Some collectors send no response message; that does not justify sending an accepted export again.
        Ok(ExportTraceServiceResponse::decode(response.into_body()).unwrap_or_default())
    }
}

/// Seconds or a date (RFC 9110, 10.2.3); a date in the past means no pause.
fn retry_after(value: &str) -> Option<Duration> {
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?;
    Some(Duration::try_from(date.timestamp().duration_since(Timestamp::now())).unwrap_or_default())
}

fn retry(status: StatusCode, headers: &HeaderMap) -> Retry {
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            let pause = headers.get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?.trim()));
            pause.map_or(Retry::Backoff, Retry::After)
        }
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => Retry::Backoff,
        _ => Retry::Never,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_retryable_statuses_are_retried() {
        let rows = [
            (429, Some("7"), Retry::After(Duration::from_secs(7))),
            (503, Some(" 7 "), Retry::After(Duration::from_secs(7))),
            (503, Some("Fri, 31 Dec 1999 23:59:59 GMT"), Retry::After(Duration::ZERO)),
            (503, Some("later"), Retry::Backoff),
            (503, Some("-1"), Retry::Backoff),
            (429, None, Retry::Backoff),
            (502, Some("7"), Retry::Backoff),
            (504, None, Retry::Backoff),
            (500, Some("7"), Retry::Never),
            (400, None, Retry::Never),
            (401, None, Retry::Never),
            (404, None, Retry::Never),
            (301, None, Retry::Never),
        ];
        for (status, after, expected) in rows {
            let mut headers = HeaderMap::new();
            if let Some(after) = after {
                headers.insert(RETRY_AFTER, HeaderValue::from_static(after));
            }
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(retry(status, &headers), expected, "{status} {after:?}");
        }
    }

    #[test]
    fn a_date_is_a_pause_from_now() {
        let date = Timestamp::now() + Duration::from_hours(1);
        let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&date).unwrap();
        let pause = retry_after(&date).unwrap();
        assert!((Duration::from_mins(59)..=Duration::from_hours(1)).contains(&pause), "{date}: {pause:?}");
    }
}
