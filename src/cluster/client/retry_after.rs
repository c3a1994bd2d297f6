//! Copies a `Retry-After` header into the body of an error, because kube keeps only the body: API Priority
//! and Fairness answers 429 in plain text with this header. It retries nothing.

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tower::BoxError;

/// The body of a response: unchanged or rewritten.
pub type ResponseBody<B> = Either<B, Full<Bytes>>;

/// Returns the response unchanged, or rewritten if it is an error with a `Retry-After` header.
///
/// # Errors
/// If the body of such an error does not arrive.
pub(super) async fn copy_retry_after(
    response: Response<Incoming>,
) -> Result<Response<ResponseBody<Incoming>>, BoxError> {
    let status = response.status();
    let Some(seconds) = retry_after(status, response.headers()) else {
        return Ok(response.map(Either::Left));
    };
    let (mut parts, body) = response.into_parts();
    let text = body.collect().await?.to_bytes();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    let body = with_retry_after(status, &text, seconds).to_string();
    Ok(Response::from_parts(parts, Either::Right(Full::from(body))))
}

/// The pause from the error's header. Kubernetes sends seconds, never a date.
fn retry_after(status: StatusCode, headers: &HeaderMap) -> Option<u32> {
    let header = headers.get(header::RETRY_AFTER).filter(|_| status.as_u16() >= 400)?;
    header.to_str().ok()?.trim().parse().ok().filter(|seconds| *seconds > 0)
}

/// The response's `Status` with the pause in `details`. Keeps a pause that the API server set itself.
fn with_retry_after(status: StatusCode, body: &[u8], seconds: u32) -> Value {
    let object = serde_json::from_slice::<Value>(body).ok().filter(|object| object["kind"] == "Status");
    let mut object = object.unwrap_or_else(|| {
        let reason = if status == StatusCode::TOO_MANY_REQUESTS { "TooManyRequests" } else { "" };
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status.as_u16(), "reason": reason,
            "message": String::from_utf8_lossy(body).trim()})
    });
    if !object["details"].is_object() {
        object["details"] = json!({});
    }
    if object["details"]["retryAfterSeconds"].as_u64().unwrap_or(0) == 0 {
        object["details"]["retryAfterSeconds"] = json!(seconds);
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &'static str) -> HeaderMap {
        [(header::RETRY_AFTER, header::HeaderValue::from_static(value))].into_iter().collect()
    }

    #[test]
    fn only_an_error_with_seconds_is_rewritten() {
        assert_eq!(retry_after(StatusCode::TOO_MANY_REQUESTS, &headers("4")), Some(4));
        assert_eq!(retry_after(StatusCode::SERVICE_UNAVAILABLE, &headers(" 1 ")), Some(1));
        assert_eq!(retry_after(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new()), None);
        assert_eq!(retry_after(StatusCode::OK, &headers("4")), None);
        for value in ["0", "-1", "soon", "Wed, 21 Oct 2026 07:28:00 GMT"] {
            assert_eq!(retry_after(StatusCode::TOO_MANY_REQUESTS, &headers(value)), None, "{value}");
        }
    }

    #[test]
    fn plain_text_becomes_a_status() {
        let text = b"Too many requests, please try again later.\n";
        let status = with_retry_after(StatusCode::TOO_MANY_REQUESTS, text, 4);
        assert_eq!(status["message"], "Too many requests, please try again later.");
        assert_eq!((&status["code"], &status["reason"]), (&json!(429), &json!("TooManyRequests")));
        assert_eq!(status["details"]["retryAfterSeconds"], 4);
    }

    #[test]
    fn a_status_keeps_its_own_pause() {
        let own = json!({"kind": "Status", "code": 429, "message": "m", "details": {"kind": "pods", "retryAfterSeconds": 7}});
        let code = StatusCode::TOO_MANY_REQUESTS;
        assert_eq!(with_retry_after(code, own.to_string().as_bytes(), 4), own);
        let bare = json!({"kind": "Status", "code": 429, "message": "m"});
        let full = with_retry_after(code, bare.to_string().as_bytes(), 4);
        assert_eq!((&full["message"], &full["details"]), (&json!("m"), &json!({"retryAfterSeconds": 4})));
    }
}
