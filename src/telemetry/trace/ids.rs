//! The id generator and the sampler of the tracer: random ids but where a rollout presets them, the
//! configured sampler but where a rollout has decided.

use std::cell::Cell;

use opentelemetry::{
    Context, KeyValue,
    trace::{Link, SpanId, SpanKind, TraceContextExt, TraceId},
};
use opentelemetry_sdk::trace::{
    IdGenerator, RandomIdGenerator, SamplingDecision, SamplingResult, ShouldSample,
};

use crate::telemetry::trace::context::ForcedSampling;

thread_local! {
    static PRESET: Cell<Option<(TraceId, SpanId)>> = const { Cell::new(None) };
}

/// Hands out the preset ids inside [`with_preset`], random ones elsewhere.
#[derive(Debug, Default)]
pub(in crate::telemetry) struct PresetIdGenerator(RandomIdGenerator);

impl IdGenerator for PresetIdGenerator {
    fn new_trace_id(&self) -> TraceId {
        PRESET.get().map_or_else(|| self.0.new_trace_id(), |(trace, _)| trace)
    }

    fn new_span_id(&self) -> SpanId {
        PRESET.get().map_or_else(|| self.0.new_span_id(), |(_, span)| span)
    }
}

/// Runs `start`, which starts one span on this thread, with these ids: the SDK's span builder has no fields
/// for them.
pub(in crate::telemetry) fn with_preset<T>(trace: TraceId, span: SpanId, start: impl FnOnce() -> T) -> T {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            PRESET.set(None);
        }
    }
    PRESET.set(Some((trace, span)));
    let _reset = Reset;
    start()
}

/// The configured sampler; inside a rollout the rollout's own decision.
#[derive(Clone, Debug)]
pub(in crate::telemetry) struct RolloutSampler(pub(in crate::telemetry) Box<dyn ShouldSample>);

impl ShouldSample for RolloutSampler {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        match parent.and_then(|cx| cx.get::<ForcedSampling>().map(|sampled| (cx, sampled.0))) {
            Some((cx, sampled)) => SamplingResult {
                decision: if sampled { SamplingDecision::RecordAndSample } else { SamplingDecision::Drop },
                attributes: Vec::new(),
                trace_state: cx.span().span_context().trace_state().clone(),
            },
            None => self.0.should_sample(parent, trace, name, kind, attributes, links),
        }
    }
}
