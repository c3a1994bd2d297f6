//! The operator's tracer and its handle. Only the reconcile wrapper and the client layer open spans of a
//! reconcile.

pub mod build_spans;
pub(in crate::telemetry) mod context;
mod event_records;
pub(in crate::telemetry) mod exception;
pub(in crate::telemetry) mod ids;
pub mod rollout_context;
pub(in crate::telemetry) mod sampler;
pub mod span_ids;
pub(in crate::telemetry) mod tail_sampling;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use opentelemetry::{
    Context, KeyValue, Value,
    trace::{Link, Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, Tracer as _},
};
use opentelemetry_sdk::{
    logs::SdkLogger,
    trace::{SamplingDecision, SdkTracer, SdkTracerProvider, ShouldSample},
};
use tokio::time::{Instant, timeout_at};

use crate::telemetry::{
    catalog::{
        attributes::{LabelValue, RolloutOutcome, Signal},
        spans::ROLLOUT,
    },
    sources::export_stats::ExportStats,
    trace::{
        context::ForcedSampling,
        ids::with_preset,
        rollout_context::{RolloutContext, RolloutSeed, RolloutSpan},
        span_ids::{SpanIds, TraceParent, remote_context},
    },
};

/// The handle for traces; cheap to clone.
#[derive(Clone)]
pub struct Traces {
    pub(in crate::telemetry) inner: Arc<Inner>,
}

/// The target of the handle.
pub(in crate::telemetry) struct Inner {
    /// Whether any exporter receives spans.
    pub(in crate::telemetry) exports: bool,
    pub(in crate::telemetry) tracer: SdkTracer,
    pub(in crate::telemetry) provider: SdkTracerProvider,
    pub(in crate::telemetry) export_stats: Arc<ExportStats>,
    pub(in crate::telemetry) sampler: Box<dyn ShouldSample>,
    /// For the records of Events; `None` if logs are not exported.
    pub(in crate::telemetry) logger: Option<SdkLogger>,
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces").field("sampler", &self.inner.sampler).finish_non_exhaustive()
    }
}

impl Traces {
    /// Begins a rollout: derives its IDs and asks the configured sampler. Ignores a malformed parent.
    #[must_use]
    pub fn begin_rollout(&self, seed: &RolloutSeed<'_>) -> RolloutContext {
        let parent = seed.parent.and_then(|text| {
            let parsed = text.parse::<TraceParent>().ok();
            if parsed.is_none() {
                tracing::debug!(uid = seed.uid, traceparent = text, "ignoring a malformed traceparent");
            }
            parsed
        });
        let ctx = RolloutContext::derive(seed, parent);
        let caller = parent.map(|parent| remote_context(&parent, ctx.span_context().trace_state().clone()));
        let cx = caller.map_or_else(Context::new, |caller| Context::new().with_remote_span_context(caller));
        let sampling = self.inner.sampler.should_sample(
            Some(&cx),
            ctx.span_context().trace_id(),
            "rollout",
            &SpanKind::Internal,
            &[],
            &[],
        );
        ctx.with_sampled(sampling.decision == SamplingDecision::RecordAndSample)
    }

    /// Resumes a rollout from `status.rollout` and its `traceparent` (`None`: it was not sampled).
    #[must_use]
    pub fn resume_rollout(&self, traceparent: Option<&str>, seed: &RolloutSeed<'_>) -> RolloutContext {
        let parent = seed.parent.and_then(|text| text.parse().ok());
        match traceparent.and_then(|text| text.parse::<TraceParent>().ok()) {
            // Without an exporter, there is no span to refer to, whatever an earlier process exported.
            Some(root) => RolloutContext::from_root(root, parent, seed.tracestate)
                .with_sampled(root.is_sampled() && self.inner.exports),
            None => RolloutContext::derive(seed, parent),
        }
    }

    /// Emits the root span of a rollout with its given IDs and times, if it is sampled.
    pub fn emit_rollout(&self, span: RolloutSpan) {
        if !span.ctx.is_sampled() {
            return;
        }
        let cx = span
            .ctx
            .parent_context()
            .map_or_else(Context::new, |parent| Context::new().with_remote_span_context(parent));
        let mut builder = SpanBuilder::from_name(ROLLOUT.name_for(span.object.kind.as_str()))
            .with_kind(SpanKind::Internal)
            .with_start_time(in_micros(span.started))
            .with_attributes(rollout_attributes(&span));
        if let Some(link) = span.link.as_deref().and_then(|text| text.parse::<TraceParent>().ok()) {
            let link = remote_context(&link, opentelemetry::trace::TraceState::default());
            builder = builder.with_links(vec![Link::with_context(link)]);
        }
        let tracer = &self.inner.tracer;
        let cx = cx.with_value(ForcedSampling(true));
        let ids = span.ctx.span_context();
        let mut root = with_preset(ids.trace_id(), ids.span_id(), || tracer.build_with_context(builder, &cx));
        match (span.outcome, span.error) {
            (RolloutOutcome::Ready, _) => root.set_status(Status::Ok),
            (RolloutOutcome::TimedOut, error) => {
                root.set_status(Status::error(error.unwrap_or_else(|| "not ready in time".to_owned())));
            }
            _ => {}
        }
        root.end_with_timestamp(in_micros(span.ended));
    }

    /// Exports every ended span, within `bound`. Returns whether no span was lost, now or in the preceding `before`.
    pub async fn export_all(&self, bound: Duration, before: Duration) -> bool {
        let until = Instant::now() + bound;
        self.inner.export_stats.open_spans.wait_until_none(bound).await;
        let (exported, outcome) = tokio::sync::oneshot::channel();
        let provider = self.inner.provider.clone();
        // Blocks, and may be abandoned.
        std::thread::spawn(move || exported.send(provider.force_flush()));
        let is_exported = matches!(timeout_at(until, outcome).await, Ok(Ok(Ok(()))));
        is_exported && !self.inner.export_stats.has_lost_within(Signal::Traces, before)
    }
}

fn rollout_attributes(span: &RolloutSpan) -> Vec<KeyValue> {
    let object = span.object.attributes::<Value>();
    let mut attributes: Vec<_> = object.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect();
    attributes.extend([
        KeyValue::new("elpio.generation", span.generation),
        KeyValue::new("elpio.engine", LabelValue::from(span.engine).as_str()),
        KeyValue::new("elpio.outcome", span.outcome.as_str()),
    ]);
    if span.outcome == RolloutOutcome::TimedOut {
        attributes.push(KeyValue::new("error.type", "timeout"));
    }
    attributes
}

/// The IDs of the current span, if it is sampled. Handing them out keeps the trace.
#[must_use]
pub fn current_ids() -> Option<SpanIds> {
    context::ids_and_keep()
}

/// A parent that bypasses the sampler: the context has the rollout's decision.
pub(in crate::telemetry) fn rollout_parent(root: SpanContext) -> Context {
    let sampled = root.is_sampled();
    Context::new().with_remote_span_context(root).with_value(ForcedSampling(sampled))
}

/// A time with the API server's precision, so that a span that is sent again is identical.
fn in_micros(time: SystemTime) -> SystemTime {
    let Ok(since) = time.duration_since(SystemTime::UNIX_EPOCH) else { return time };
    let below = Duration::from_nanos(u64::from(since.subsec_nanos() % 1_000));
    time.checked_sub(below).unwrap_or(time)
}
