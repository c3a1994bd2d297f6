//! A rollout as a trace, with IDs that every replica derives alike; it keeps no state and emits nothing.

use std::{
    num::{NonZeroU64, NonZeroU128},
    time::SystemTime,
};

use opentelemetry::trace::{SpanContext, TraceState};
use sha2::{Digest, Sha256};

use crate::{
    api::{Engine, RolloutOutcome, TraceParent},
    telemetry::{
        object_reference::ObjectReference,
        trace::span_ids::{SpanIds, remote_context},
    },
};

/// The minimum that every participant must propagate (W3C Trace Context, 3.3.1.5).
const MAX_TRACESTATE: usize = 512;

/// The input from which a rollout's IDs are derived.
#[derive(Clone, Copy, Debug, Default)]
pub struct RolloutSeed<'a> {
    /// The object's uid.
    pub uid: &'a str,
    /// The generation of the rollout.
    pub generation: i64,
    /// The value of `elpio.io/rebuild`, or empty.
    pub rebuild: &'a str,
    /// The `traceparent` of a caller, which takes precedence.
    pub parent: Option<&'a str>,
    /// The caller's `tracestate`.
    pub tracestate: Option<&'a str>,
}

/// The trace context of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutContext {
    root: TraceParent,
    /// The caller's span, if it started this rollout.
    parent: Option<TraceParent>,
    /// The caller's `tracestate`.
    state: TraceState,
}

impl RolloutContext {
    /// Derives the IDs; the caller of this function decides about sampling.
    pub(in crate::telemetry) fn derive(seed: &RolloutSeed<'_>, parent: Option<TraceParent>) -> Self {
        let mut hash = Sha256::new();
        // Prefixed with their lengths, so that different seeds never yield the same text.
        for part in [seed.uid, &seed.generation.to_string(), seed.rebuild] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        let (mut trace, mut span) = ([0; 16], [0; 8]);
        trace.copy_from_slice(&digest[..16]);
        span.copy_from_slice(&digest[16..24]);
        // All zeros is not a valid ID (W3C Trace Context). It occurs for one hash in 2^64, so any replacement
        // will do.
        let (trace, span) =
            (NonZeroU128::new(u128::from_be_bytes(trace)), NonZeroU64::new(u64::from_be_bytes(span)));
        let (trace, span) = (trace.unwrap_or(NonZeroU128::MIN), span.unwrap_or(NonZeroU64::MIN));
        // A derived ID is not random: an object's author controls its input.
        let root = match parent {
            Some(parent) => parent.with_span_id(span),
            None => TraceParent::from_ids(trace, span),
        };
        Self::from_root(root.with_sampled(false), parent, seed.tracestate)
    }

    pub(in crate::telemetry) fn with_sampled(self, is_sampled: bool) -> Self {
        Self { root: self.root.with_sampled(is_sampled), ..self }
    }

    /// The context of a rollout that another process (possibly another replica) started.
    pub(in crate::telemetry) fn from_root(
        root: TraceParent,
        parent: Option<TraceParent>,
        tracestate: Option<&str>,
    ) -> Self {
        let parent = parent.filter(|parent| parent.is_same_trace(&root));
        // An invalid `tracestate` is dropped as a whole (W3C Trace Context, 3.3.1.1).
        let state = tracestate.filter(|text| parent.is_some() && text.len() <= MAX_TRACESTATE);
        let state = state.and_then(|text| text.parse().ok());
        Self { root, parent, state: state.unwrap_or_default() }
    }

    pub(in crate::telemetry) fn is_sampled(&self) -> bool {
        self.root.is_sampled()
    }

    pub(in crate::telemetry) fn is_random(&self) -> bool {
        self.root.is_random()
    }

    /// The root span, as the parent of others.
    pub(in crate::telemetry) fn span_context(&self) -> SpanContext {
        remote_context(&self.root, self.state.clone())
    }

    /// The caller's span, as the parent of the root span.
    pub(in crate::telemetry) fn parent_context(&self) -> Option<SpanContext> {
        let parent = self.parent.map(|parent| parent.with_sampled(self.is_sampled()))?;
        Some(remote_context(&parent, self.state.clone()))
    }

    /// The IDs of the root span, if it is sampled.
    #[must_use]
    pub fn ids(&self) -> Option<SpanIds> {
        self.is_sampled().then(|| SpanIds::from(self.root))
    }

    /// The `traceparent` of the root span, if it is sampled.
    #[must_use]
    pub fn traceparent(&self) -> Option<String> {
        self.is_sampled().then(|| self.root.to_string())
    }
}

/// The root span of a rollout that ended.
#[derive(Clone, Debug)]
pub struct RolloutSpan {
    /// The trace context.
    pub ctx: RolloutContext,
    /// The object.
    pub object: ObjectReference,
    /// The generation of the rollout.
    pub generation: i64,
    /// The engine; `None` for a function, or if it is unknown.
    pub engine: Option<Engine>,
    /// When the edit was first observed.
    pub started: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
    /// The outcome.
    pub outcome: RolloutOutcome,
    /// The failing condition, if it timed out.
    pub error: Option<String>,
    /// The `traceparent` to link to.
    pub link: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: RolloutSeed<'_> =
        RolloutSeed { uid: "u", generation: 3, rebuild: "", parent: None, tracestate: None };

    #[test]
    fn ids_depend_on_every_part_of_the_seed_and_on_nothing_else() {
        let ids = |seed| {
            let ctx = RolloutContext::derive(&seed, None);
            (ctx.root.trace_id(), ctx.root.span_id())
        };
        assert_eq!(ids(SEED), ids(SEED));
        let others = [
            RolloutSeed { uid: "v", ..SEED },
            RolloutSeed { generation: 4, ..SEED },
            RolloutSeed { rebuild: "1", ..SEED },
            RolloutSeed { uid: "u3", generation: 0, ..SEED },
        ];
        for other in others {
            assert_ne!(ids(SEED), ids(other), "{other:?}");
        }
    }

    /// IDs are stored in objects: other versions of the operator must derive the same ones.
    #[test]
    fn the_derivation_does_not_change() {
        let root = RolloutContext::derive(&SEED, None).with_sampled(true).traceparent();
        assert_eq!(root.as_deref(), Some("00-6147e213db38dba60145ae8f977147c3-0721cebb7926fb74-01"));
    }

    #[test]
    fn an_unsampled_rollout_shows_nothing() {
        let ctx = RolloutContext::derive(&SEED, None);
        assert_eq!((ctx.ids(), ctx.traceparent()), (None, None));
    }
}
