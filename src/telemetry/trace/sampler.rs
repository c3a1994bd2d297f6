//! Whether to sample a span. 1 or 2 decides when a span starts; 3 may drop it when it ends. It keeps no spans.
//!
//! 1. The rollout's decision, made when it started (`begin_rollout` in `mod.rs`) and stored in `status.rollout`.
//! 2. The configured sampler (`OTEL_TRACES_SAMPLER`, parsed in `config/sampler.rs`).
//! 3. At the end of a reconcile, `close_span` in `telemetry/reconcile/mod.rs` keeps the trace if something changed or
//!    failed; so does a write request, or handing out an ID. `tail_sampling.rs` drops the others.

use opentelemetry::{
    Context, KeyValue,
    trace::{Link, SpanKind, TraceContextExt, TraceId},
};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, ShouldSample};

use crate::telemetry::trace::context::ForcedSampling;

/// The configured sampler; within a rollout, the rollout's decision.
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
