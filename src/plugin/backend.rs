//! Asks Jaeger or Tempo for a trace. I/O; it reads no span.

use std::time::Duration;

use http_body_util::BodyExt;
use kube::{Client, Config, client::Body};
use serde_json::Value;

use crate::{
    api::url::redact_userinfo,
    plugin::spans::{TraceSpan, of_jaeger, of_otlp},
};

/// No answer takes longer.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A backend of traces, by the URL of its query API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceBackend {
    /// Jaeger.
    Jaeger(String),
    /// Tempo.
    Tempo(String),
}

impl TraceBackend {
    fn url(&self) -> &str {
        match self {
            Self::Jaeger(url) | Self::Tempo(url) => url.trim_end_matches('/'),
        }
    }

    /// Where a person reads the trace: Tempo has no pages of its own.
    pub fn link(&self, trace_id: &str) -> Option<String> {
        matches!(self, Self::Jaeger(_)).then(|| format!("{}/trace/{trace_id}", redact_userinfo(self.url())))
    }

    /// The spans of a trace; none where the backend does not know it.
    ///
    /// # Errors
    /// One line.
    pub async fn spans(&self, trace_id: &str) -> Result<Vec<TraceSpan>, String> {
        let path = format!("/api/traces/{trace_id}");
        let fail =
            |cause: String| format!("cannot read the trace from {}: {cause}", redact_userinfo(self.url()));
        let answer = match tokio::time::timeout(TIMEOUT, get(self.url(), &path)).await {
            Ok(answer) => answer.map_err(fail)?,
            Err(_) => return Err(fail(format!("no answer within {} s", TIMEOUT.as_secs()))),
        };
        Ok(match self {
            Self::Jaeger(_) => of_jaeger(&answer),
            Self::Tempo(_) => of_otlp(&answer),
        })
    }
}

/// kube's client speaks HTTP and TLS as any other; null for 404.
async fn get(url: &str, path: &str) -> Result<Value, String> {
    let base: http::Uri = url.parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
    let mut config = Config::new(base);
    config.connect_timeout = Some(TIMEOUT);
    config.default_retry = false;
    let client = Client::try_from(config).map_err(|error| error.to_string())?;
    let request = http::Request::get(path).header(http::header::ACCEPT, "application/json");
    let request = request.body(Body::empty()).map_err(|error| error.to_string())?;
    let answer = client.send(request).await.map_err(|error| crate::telemetry::error_chain(&error))?;
    let status = answer.status();
    if status == http::StatusCode::NOT_FOUND {
        return Ok(Value::Null);
    }
    let body = answer.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    if !status.is_success() {
        return Err(format!("HTTP {status}"));
    }
    serde_json::from_slice(&body)
        .map_err(|_| "the answer is not JSON: is this the URL of its query API?".into())
}
