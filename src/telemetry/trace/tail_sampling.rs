//! The first span processor: holds back the spans of a tentative trace until it is kept or dropped, and
//! truncates values; it exports nothing itself.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use opentelemetry::{
    Array, Context, KeyValue, StringValue, Value,
    trace::{Span as _, SpanId, TraceContextExt, TraceId},
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanProcessor},
};
use parking_lot::Mutex;

use crate::telemetry::{
    catalog::attributes::Signal,
    sources::export_stats::ExportStats,
    trace::context::{CurrentReconcile, DeferredSampling},
};

/// The most spans held back for one trace; a reconcile has a few dozen.
const MAX_SPANS_PER_TRACE: usize = 512;
/// The most traces held back; more than the reconciles before their first write, which keeps the trace.
/// Beyond the limit, traces are exported at once.
const MAX_PENDING_TRACES: usize = 1024;

#[derive(Debug)]
struct PendingTrace {
    root: SpanId,
    sampling: DeferredSampling,
    spans: Vec<SpanData>,
}

/// See the module.
#[derive(Debug)]
pub(in crate::telemetry) struct TailSamplingProcessor {
    next: Vec<Box<dyn SpanProcessor>>,
    held: Mutex<HashMap<TraceId, PendingTrace>>,
    /// The length of `held`, so that the common case needs no lock.
    traces: AtomicUsize,
    export_stats: Arc<ExportStats>,
    value_limit: Option<usize>,
}

impl TailSamplingProcessor {
    pub(in crate::telemetry) fn new(
        next: Vec<Box<dyn SpanProcessor>>,
        export_stats: Arc<ExportStats>,
        value_limit: Option<usize>,
    ) -> Self {
        Self { next, held: Mutex::default(), traces: AtomicUsize::new(0), export_stats, value_limit }
    }

    fn forward(&self, mut span: SpanData) {
        if let Some(limit) = self.value_limit {
            truncate_all(&mut span, limit);
        }
        if let Some((last, others)) = self.next.split_last() {
            for next in others {
                next.on_end(span.clone());
            }
            last.on_end(span);
        }
    }

    /// Whether spans of this trace are held back.
    fn holds(&self, trace: TraceId) -> bool {
        self.traces.load(Ordering::Acquire) > 0 && self.held.lock().contains_key(&trace)
    }

    /// Holds a span back. Returns the spans to forward now: all those of a trace that has ended and is kept.
    fn hold(&self, span: SpanData) -> Vec<SpanData> {
        let mut held = self.held.lock();
        let trace = span.span_context.trace_id();
        let Some(tentative) = held.get_mut(&trace) else { return vec![span] };
        // With `tracing`, a parent closes after its children, and a reconcile awaits its calls, so the root
        // is the last span of its trace.
        let ended = tentative.root == span.span_context.span_id();
        if tentative.spans.len() < MAX_SPANS_PER_TRACE || ended {
            tentative.spans.push(span);
        } else {
            self.export_stats.record_queue_full(Signal::Traces, 1);
        }
        if !ended {
            return Vec::new();
        }
        let done = held.remove(&trace);
        self.traces.store(held.len(), Ordering::Release);
        done.filter(|tentative| tentative.sampling.is_kept())
            .map(|tentative| tentative.spans)
            .unwrap_or_default()
    }
}

impl SpanProcessor for TailSamplingProcessor {
    fn on_start(&self, span: &mut Span, parent: &Context) {
        self.export_stats.open_spans.span_started();
        let is_root = !parent.span().span_context().is_valid();
        let reconcile = if is_root { parent.get::<CurrentReconcile>() } else { None };
        if let Some(sampling) = reconcile.and_then(|reconcile| reconcile.sampling.clone()) {
            let ctx = span.span_context();
            let mut held = self.held.lock();
            if held.len() < MAX_PENDING_TRACES {
                held.insert(
                    ctx.trace_id(),
                    PendingTrace { root: ctx.span_id(), sampling, spans: Vec::new() },
                );
                self.traces.store(held.len(), Ordering::Release);
            } else {
                drop(held);
                sampling.keep();
            }
        }
        self.next.iter().for_each(|next| next.on_start(span, parent));
    }

    fn on_end(&self, span: SpanData) {
        if self.holds(span.span_context.trace_id()) {
            self.hold(span).into_iter().for_each(|span| self.forward(span));
        } else {
            self.forward(span);
        }
        self.export_stats.open_spans.span_ended();
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next.iter().map(|next| next.force_flush()).fold(Ok(()), OTelSdkResult::and)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.iter().map(|next| next.shutdown_with_timeout(timeout)).fold(Ok(()), OTelSdkResult::and)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.next.iter_mut().for_each(|next| next.set_resource(resource));
    }
}

fn truncate_all(span: &mut SpanData, limit: usize) {
    span.attributes.iter_mut().for_each(|attribute| truncate(attribute, limit));
    for event in &mut span.events.events {
        event.attributes.iter_mut().for_each(|attribute| truncate(attribute, limit));
    }
    for link in &mut span.links.links {
        link.attributes.iter_mut().for_each(|attribute| truncate(attribute, limit));
    }
}

/// `OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT` counts characters, and applies to strings and to each string of an
/// array (OpenTelemetry specification, attribute limits).
fn truncate(attribute: &mut KeyValue, limit: usize) {
    match &mut attribute.value {
        Value::String(text) => truncate_text(text, limit),
        Value::Array(Array::String(texts)) => {
            for text in texts {
                truncate_text(text, limit);
            }
        }
        _ => {}
    }
}

fn truncate_text(text: &mut StringValue, limit: usize) {
    if let Some((end, _)) = text.as_str().char_indices().nth(limit) {
        *text = StringValue::from(text.as_str()[..end].to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_on_a_character() {
        let mut attribute = KeyValue::new("a", "äöü");
        truncate(&mut attribute, 2);
        assert_eq!(attribute.value.as_str(), "äö");
        truncate(&mut attribute, 2);
        assert_eq!(attribute.value.as_str(), "äö");
    }

    #[test]
    fn each_string_of_an_array_is_cut_and_nothing_else() {
        let texts = |all: [&'static str; 3]| Value::Array(Array::String(all.map(StringValue::from).to_vec()));
        for (value, expected) in [
            (texts(["äöü", "ab", ""]), texts(["äö", "ab", ""])),
            (Value::Array(Array::I64(vec![12345])), Value::Array(Array::I64(vec![12345]))),
            (Value::I64(12345), Value::I64(12345)),
        ] {
            let mut attribute = KeyValue::new("a", value);
            truncate(&mut attribute, 2);
            assert_eq!(attribute.value, expected);
        }
    }
}
