//! Queries Jaeger or Tempo for a trace. I/O; it interprets no spans.

use std::time::Duration;

use http_body_util::BodyExt;
use kube::{Client, Config, client::Body};
use serde_json::Value;

use crate::{
    api::url::redact_userinfo,
    plugin::spans::{TraceSpan, of_jaeger, of_otlp},
    telemetry::error_chain,
};

/// The timeout of a query.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The query API of the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BackendKind {
    Jaeger,
    Tempo,
}

/// A tracing backend, identified by the URL of its query API.
pub struct TraceBackend {
    kind: BackendKind,
    url: String,
    client: Client,
}

impl TraceBackend {
    /// A Jaeger backend.
    ///
    /// # Errors
    /// If the URL is invalid, as one line.
    pub fn jaeger(url: &str) -> Result<Self, String> {
        Self::new(BackendKind::Jaeger, url)
    }

    /// A Tempo backend.
    ///
    /// # Errors
    /// If the URL is invalid, as one line.
    pub fn tempo(url: &str) -> Result<Self, String> {
        Self::new(BackendKind::Tempo, url)
    }

    /// kube's client works for any HTTP(S) server.
    fn new(kind: BackendKind, url: &str) -> Result<Self, String> {
        let fail = |cause: String| format!("invalid query API URL {}: {cause}", redact_userinfo(url));
        let base: http::Uri = url.parse().map_err(|error: http::uri::InvalidUri| fail(error.to_string()))?;
        if base.scheme().is_none() || base.host().is_none() {
            return Err(fail("it needs http:// or https://, and a host".to_owned()));
        }
        let mut config = Config::new(base);
        config.connect_timeout = Some(TIMEOUT);
        config.default_retry = false;
        let client = Client::try_from(config).map_err(|error| fail(error_chain(&error)))?;
        Ok(Self { kind, url: url.trim_end_matches('/').to_owned(), client })
    }

    /// The URL of the trace for a browser: Tempo has no UI of its own.
    pub fn link(&self, trace_id: &str) -> Option<String> {
        (self.kind == BackendKind::Jaeger).then(|| format!("{}/trace/{trace_id}", redact_userinfo(&self.url)))
    }

    /// The spans of a trace; empty if the backend does not have it.
    ///
    /// # Errors
    /// The cause, as one line.
    pub async fn spans(&self, trace_id: &str) -> Result<Vec<TraceSpan>, String> {
        let path = format!("/api/traces/{trace_id}");
        let fail =
            |cause: String| format!("cannot read the trace from {}: {cause}", redact_userinfo(&self.url));
        let response = match tokio::time::timeout(TIMEOUT, self.get(&path)).await {
            Ok(result) => result.map_err(fail)?,
            Err(_) => return Err(fail(format!("no response within {} s", TIMEOUT.as_secs()))),
        };
        Ok(match self.kind {
            BackendKind::Jaeger => of_jaeger(&response),
            BackendKind::Tempo => of_otlp(&response),
        })
    }

    /// Null for a 404.
    async fn get(&self, path: &str) -> Result<Value, String> {
        let request = http::Request::get(path).header(http::header::ACCEPT, "application/json");
        let request = request.body(Body::empty()).map_err(|error| error.to_string())?;
        let response = self.client.send(request).await.map_err(|error| error_chain(&error))?;
        let status = response.status();
        if status == http::StatusCode::NOT_FOUND {
            return Ok(Value::Null);
        }
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        if !status.is_success() {
            return Err(format!("HTTP {status}"));
        }
        serde_json::from_slice(&body)
            .map_err(|_| "the answer is not JSON: is this the URL of its query API?".into())
    }
}
