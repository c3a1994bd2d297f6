//! One call to the API server as a client span and a duration, by the semantic conventions for HTTP; it sends
//! nothing.

use std::{error::Error, fmt, io, sync::Arc};

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use opentelemetry::{
    Context, KeyValue,
    trace::{Status, TraceContextExt},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::telemetry::{
    catalog::instruments::METHODS,
    metrics::{Instruments, Metrics},
    trace::{
        context::{CurrentReconcile, DeferredSampling, SPAN_TARGET, ids_of},
        timing::Timing,
    },
};

/// The API server.
#[derive(Debug)]
pub(in crate::telemetry) struct ApiServer {
    host: String,
    port: u16,
}

impl Default for ApiServer {
    /// The name that it has inside a cluster.
    fn default() -> Self {
        Self { host: "kubernetes.default.svc".to_owned(), port: 443 }
    }
}

impl ApiServer {
    pub(in crate::telemetry) fn of(uri: &http::Uri) -> Self {
        let default = if uri.scheme_str() == Some("http") { 80 } else { 443 };
        uri.host().map_or_else(Self::default, |host| Self {
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(default),
        })
    }
}

/// A call under way. One that is dropped was given up by its caller, mostly at a time-out, and counts as
/// `cancelled`.
pub(in crate::telemetry) struct RequestSpan {
    instruments: Option<Arc<Instruments>>,
    span: Span,
    sampling: Option<DeferredSampling>,
    attributes: Vec<KeyValue>,
    method: Method,
    timing: Timing,
    ended: bool,
}

impl fmt::Debug for RequestSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("attributes", &self.attributes).finish_non_exhaustive()
    }
}

/// The method, if it is one that everybody knows.
fn method_name(method: &Method) -> &'static str {
    METHODS.iter().copied().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

impl RequestSpan {
    pub(in crate::telemetry) fn begin<B>(
        metrics: &Metrics,
        server: &ApiServer,
        request: &mut Request<B>,
        template: String,
    ) -> Self {
        let method = request.method().clone();
        let reconciling = Context::map_current(|cx| cx.get::<CurrentReconcile>().cloned());
        let (span, timing) = Timing::of(|| match reconciling {
            Some(_) => open(&method, request.uri(), server, &template),
            None => Span::none(),
        });
        let sampling = reconciling.and_then(|reconciling| reconciling.sampling);
        if metrics.propagate && !span.is_disabled() {
            inject(&span, sampling.as_ref(), &method, request.headers_mut());
        }
        let attributes = vec![
            KeyValue::new("http.request.method", method_name(&method)),
            KeyValue::new("url.template", template),
            KeyValue::new("server.address", server.host.clone()),
        ];
        Self {
            instruments: metrics.instruments.clone(),
            span,
            sampling,
            attributes,
            method,
            timing,
            ended: false,
        }
    }

    pub(in crate::telemetry) fn span(&self) -> &Span {
        &self.span
    }

    /// The head of the answer came.
    pub(in crate::telemetry) fn on_response(&mut self, status: StatusCode, headers: &HeaderMap) {
        let code = i64::from(status.as_u16());
        self.span.set_attribute("http.response.status_code", code);
        // Finds the call in the API server's audit log.
        if let Some(audit) = headers.get("audit-id").and_then(|id| id.to_str().ok()) {
            self.span.set_attribute("k8s.audit_id", audit.to_owned());
        }
        self.attributes.push(KeyValue::new("http.response.status_code", code));
        let absent = status == StatusCode::NOT_FOUND && self.method == Method::GET;
        let error = status.is_client_error() || status.is_server_error();
        self.end((error && !absent).then(|| status.as_str().to_owned()));
    }

    /// No answer came.
    pub(in crate::telemetry) fn on_error(&mut self, error: &(dyn Error + 'static)) {
        let chain = error_chain(error);
        let event = vec![
            KeyValue::new("exception.type", error_type(error)),
            KeyValue::new("exception.message", chain.clone()),
        ];
        self.span.add_event("exception", event);
        self.span.set_status(Status::error(chain));
        self.end(Some(error_type(error).to_owned()));
    }

    fn end(&mut self, error: Option<String>) {
        self.ended = true;
        let (took, sure) = self.timing.end(&self.span);
        let took = took.as_secs_f64();
        if let Some(error) = error {
            self.span.set_attribute("error.type", error.clone());
            self.span.set_status(Status::error(""));
            self.attributes.push(KeyValue::new("error.type", error));
        }
        let Some(on) = &self.instruments else { return };
        on.http_duration.record_with(took, &self.attributes);
        let Some(ids) = ids_of(&self.span.context()).filter(|_| sure) else { return };
        let (on, attributes) = (Arc::clone(on), std::mem::take(&mut self.attributes));
        let mark = move || on.http_duration.record_exemplar(took, &attributes, Some(ids));
        match &self.sampling {
            Some(sampling) => sampling.on_keep(mark),
            None => mark(),
        }
    }
}

impl Drop for RequestSpan {
    fn drop(&mut self) {
        if !self.ended {
            self.end(Some("cancelled".to_owned()));
        }
    }
}

fn open(method: &Method, uri: &http::Uri, server: &ApiServer, template: &str) -> Span {
    tracing::info_span!(
        target: SPAN_TARGET,
        "call",
        otel.name = format!("{} {template}", method_name(method)),
        otel.kind = "client",
        http.request.method = method_name(method),
        url.template = template,
        url.full = format!("https://{}:{}{uri}", server.host, server.port),
        server.address = server.host,
        server.port = i64::from(server.port),
    )
}

/// Tells the API server, so that its spans join. A read in a trace that may never be exported tells nothing;
/// a write makes it one that is.
fn inject(span: &Span, sampling: Option<&DeferredSampling>, method: &Method, headers: &mut HeaderMap) {
    let cx = span.context();
    if !cx.has_active_span() {
        return;
    }
    if let Some(sampling) = sampling
        && !sampling.is_kept()
    {
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return;
        }
        sampling.keep();
    }
    if let Some(value) = ids_of(&cx).and_then(|ids| HeaderValue::from_str(&ids.traceparent()).ok()) {
        headers.insert("traceparent", value);
    }
}

/// `error.type` of a call without an answer.
fn error_type(error: &(dyn Error + 'static)) -> &'static str {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return if io.kind() == io::ErrorKind::TimedOut { "timeout" } else { "connection" };
        }
        if error.is::<tokio::time::error::Elapsed>() {
            return "timeout";
        }
        next = error.source();
    }
    "_OTHER"
}

/// An error with all its causes.
pub(in crate::telemetry) fn error_chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}
