//! The IDs of a sampled span, for output; it generates none.

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

pub(in crate::telemetry) use crate::api::trace_parent::TraceParent;

/// The IDs of a sampled span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanIds(TraceParent);

impl SpanIds {
    /// 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        self.0.trace_id_hex()
    }

    /// 16 lower-case hexadecimal digits.
    #[must_use]
    pub fn span_id(&self) -> String {
        self.0.span_id_hex()
    }

    /// The W3C `traceparent` of the span, always with the sampled flag.
    #[must_use]
    pub fn traceparent(&self) -> String {
        self.0.to_string()
    }
}

impl From<TraceParent> for SpanIds {
    fn from(parent: TraceParent) -> Self {
        Self(parent)
    }
}

/// The flag for a random trace ID (W3C Trace Context, level 2), which the SDK does not define.
const RANDOM: u8 = 0x02;

/// The remote span of a `traceparent`.
pub(in crate::telemetry) fn remote_context(parent: &TraceParent, state: TraceState) -> SpanContext {
    let random = TraceFlags::new(if parent.is_random() { RANDOM } else { 0 });
    SpanContext::new(
        TraceId::from(parent.trace_id()),
        SpanId::from(parent.span_id()),
        random.with_sampled(parent.is_sampled()),
        true,
        state,
    )
}

/// The `traceparent` of a span; `None` if the span is invalid.
pub(in crate::telemetry) fn traceparent_of(span: &SpanContext, is_random: bool) -> Option<TraceParent> {
    let (trace, id) =
        (u128::from_be_bytes(span.trace_id().to_bytes()), u64::from_be_bytes(span.span_id().to_bytes()));
    TraceParent::new(trace, id, span.is_sampled(), is_random)
}
