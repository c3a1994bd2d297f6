//! One call to the API server as a client span and a duration, per the semantic conventions for HTTP; it
//! sends nothing.

use std::{cell::Cell, error::Error, fmt, io, sync::Arc, time::Instant};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, uri::PathAndQuery};
use opentelemetry::{
    Context, KeyValue, StringValue,
    trace::{SpanBuilder, SpanKind, Status, TraceContextExt},
};
use opentelemetry_sdk::trace::SdkTracer;

use crate::telemetry::{
    catalog::instruments::METHODS,
    metrics::{Instruments, Metrics},
    sources::error_chain::error_chain,
    trace::{
        context::{CurrentReconcile, DeferredSampling, current_reconcile, traceparent_in},
        exception::record_exception,
        span_ids::{SpanIds, TraceParent},
    },
};

/// Stands for all methods that the semantic conventions do not define.
const OTHER_METHOD: &str = "_OTHER";

thread_local! {
    /// Whether the future being dropped timed out.
    static TIMED_OUT: Cell<bool> = const { Cell::new(false) };
}

/// Drops a call that timed out, which then counts as `timeout`; otherwise, a dropped call counts as
/// `cancelled`.
pub fn drop_as_timed_out<T>(call: T) {
    TIMED_OUT.set(true);
    drop(call);
    TIMED_OUT.set(false);
}

/// The API server.
#[derive(Debug)]
pub(in crate::telemetry) struct ApiServer {
    /// The URL up to the path.
    base: String,
    /// Without the brackets of an IPv6 address.
    host: StringValue,
    port: u16,
}

impl Default for ApiServer {
    /// The server's name inside a cluster.
    fn default() -> Self {
        Self::new("https", "kubernetes.default.svc", 443)
    }
}

impl ApiServer {
    pub(in crate::telemetry) fn of(uri: &Uri) -> Self {
        let (scheme, default) = if uri.scheme_str() == Some("http") { ("http", 80) } else { ("https", 443) };
        uri.host().map_or_else(Self::default, |host| {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            Self::new(scheme, host, uri.port_u16().unwrap_or(default))
        })
    }

    fn new(scheme: &str, host: &str, port: u16) -> Self {
        let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
        // All spans share it.
        let shared = Arc::<str>::from(host);
        Self { base: format!("{scheme}://{open}{host}{close}:{port}"), host: shared.into(), port }
    }

    /// The URL of a path on this server.
    fn url(&self, path: &Uri) -> String {
        [self.base.as_str(), path.path_and_query().map_or("/", PathAndQuery::as_str)].concat()
    }
}

/// A call in flight. Dropping it means that the caller gave up.
pub(in crate::telemetry) struct RequestSpan {
    instruments: Option<Arc<Instruments>>,
    /// Includes the span, unless there is neither a reconcile nor an exporter.
    context: Context,
    /// The span's IDs, if it is sampled.
    ids: Option<SpanIds>,
    reconcile: Option<CurrentReconcile>,
    attributes: Vec<KeyValue>,
    method: Method,
    started: Instant,
    ended: bool,
}

impl fmt::Debug for RequestSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestSpan").field("attributes", &self.attributes).finish_non_exhaustive()
    }
}

/// The method, if the semantic conventions define it.
fn method_name(method: &Method) -> &'static str {
    METHODS.iter().copied().find(|known| *known == method.as_str()).unwrap_or(OTHER_METHOD)
}

impl RequestSpan {
    pub(in crate::telemetry) fn begin<B>(
        metrics: &Metrics,
        server: &ApiServer,
        request: &mut Request<B>,
        template: &str,
    ) -> Self {
        let method = request.method().clone();
        let started = Instant::now();
        let attributes = vec![
            KeyValue::new("http.request.method", method_name(&method)),
            KeyValue::new("url.template", Arc::<str>::from(template)),
            KeyValue::new("server.address", server.host.clone()),
            KeyValue::new("server.port", i64::from(server.port)),
        ];
        let reconcile = current_reconcile();
        let tracer = reconcile.as_ref().and_then(|reconcile| reconcile.tracer.as_ref());
        let child = |tracer| start_child(tracer, &method, template, &attributes, server.url(request.uri()));
        let context = tracer.map(child).unwrap_or_default();
        let parent = traceparent_in(&context);
        if let Some(parent) = parent {
            set_audit_id(parent, request.headers_mut());
        }
        if let Some(parent) = parent.filter(|_| metrics.propagate) {
            inject(parent, &context, sampling_of(reconcile.as_ref()), request);
        }
        Self {
            instruments: metrics.instruments.clone(),
            context,
            ids: parent.filter(TraceParent::is_sampled).map(SpanIds::from),
            reconcile,
            attributes,
            method,
            started,
            ended: false,
        }
    }

    /// Records the response's headers.
    pub(in crate::telemetry) fn on_response(&mut self, status: StatusCode, headers: &HeaderMap) {
        let code = KeyValue::new("http.response.status_code", i64::from(status.as_u16()));
        let span = self.context.span();
        span.set_attribute(code.clone());
        // Identifies the call in the API server's audit log.
        if let Some(audit) = headers.get("audit-id").and_then(|id| id.to_str().ok()) {
            span.set_attribute(KeyValue::new("k8s.audit_id", audit.to_owned()));
        }
        self.attributes.push(code);
        let absent = status == StatusCode::NOT_FOUND && self.method == Method::GET;
        let error = status.is_client_error() || status.is_server_error();
        self.end((error && !absent).then(|| status.as_str().to_owned()));
    }

    /// Records that there is no response.
    pub(in crate::telemetry) fn on_error(&mut self, error: &(dyn Error + 'static)) {
        let chain = error_chain(error);
        if self.reconcile.is_some() {
            let _current = self.context.has_active_span().then(|| self.context.clone().attach());
            record_exception(error_type(error), &chain);
        }
        self.context.span().set_status(Status::error(chain));
        self.end(Some(error_type(error).to_owned()));
    }

    fn end(&mut self, error: Option<String>) {
        self.ended = true;
        let took = self.started.elapsed().as_secs_f64();
        let span = self.context.span();
        if let Some(error) = error {
            let error = KeyValue::new("error.type", error);
            span.set_attribute(error.clone());
            span.set_status(Status::error(""));
            self.attributes.push(error);
        }
        span.end();
        let Some(on) = &self.instruments else { return };
        let exemplars = on.http_duration.record(took, &self.attributes);
        let Some((exemplars, ids)) = exemplars.zip(self.ids) else { return };
        let mark = move || exemplars.offer(took, ids);
        match sampling_of(self.reconcile.as_ref()) {
            Some(sampling) => sampling.on_keep(mark),
            None => mark(),
        }
    }
}

impl Drop for RequestSpan {
    fn drop(&mut self) {
        if !self.ended {
            let why = if TIMED_OUT.get() { "timeout" } else { "cancelled" };
            self.end(Some(why.to_owned()));
        }
    }
}

fn sampling_of(reconcile: Option<&CurrentReconcile>) -> Option<&DeferredSampling> {
    reconcile.and_then(|reconcile| reconcile.sampling.as_ref())
}

/// Starts a child of the current span and returns its context. It is not a `tracing` span, which would cost
/// more: no code runs inside it, so it need not be current.
fn start_child(
    tracer: &SdkTracer,
    method: &Method,
    template: &str,
    attributes: &[KeyValue],
    url: String,
) -> Context {
    let known = method_name(method);
    let in_name = if known == OTHER_METHOD { "HTTP" } else { known };
    // Room for the response's attributes.
    let mut all = Vec::with_capacity(attributes.len() + 4);
    all.extend_from_slice(attributes);
    all.push(KeyValue::new("url.full", url));
    if known == OTHER_METHOD {
        all.push(KeyValue::new("http.request.method_original", method.to_string()));
    }
    let builder = SpanBuilder::from_name([in_name, " ", template].concat());
    let span = builder.with_kind(SpanKind::Client).with_attributes(all).start(tracer);
    Context::current_with_span(span)
}

/// Uses the span's IDs as the request's audit ID, which the API server keeps. Set even if unsampled, so that
/// audit entries and the operator's log lines can be correlated.
fn set_audit_id(ids: TraceParent, headers: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::from_bytes(&ids.to_bytes()[TraceParent::IDS]) {
        headers.insert(HeaderName::from_static("audit-id"), value);
    }
}

/// Injects the trace context, so that the API server's spans join the trace if it allows that; unsampled if the span
/// is. A read in a trace that may still be dropped injects none; a write makes sure that the trace is exported.
fn inject<B>(
    parent: TraceParent,
    context: &Context,
    sampling: Option<&DeferredSampling>,
    request: &mut Request<B>,
) {
    if let Some(sampling) = sampling
        && parent.is_sampled()
        && !sampling.is_kept()
    {
        if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
            return;
        }
        sampling.keep();
    }
    let state = context.span().span_context().trace_state().header();
    for (name, text) in [("traceparent", parent.to_bytes().as_slice()), ("tracestate", state.as_bytes())] {
        if let Some(value) = HeaderValue::from_bytes(text).ok().filter(|value| !value.is_empty()) {
            request.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
}

/// The `error.type` of a call without a response.
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
