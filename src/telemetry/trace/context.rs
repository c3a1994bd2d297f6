//! The contents of the current OpenTelemetry context: the current reconcile, and whether its IDs may be
//! shown. It opens no spans.

use std::sync::Arc;

use opentelemetry::{Context, trace::TraceContextExt};
use opentelemetry_sdk::trace::SdkTracer;
use parking_lot::Mutex;

use crate::telemetry::{
    object_reference::ObjectReference,
    trace::span_ids::{SpanIds, TraceParent, traceparent_of},
};

/// The target of the spans of reconciles and steps: the layer that exports spans accepts only this target,
/// whatever `RUST_LOG` is.
pub(in crate::telemetry) const SPAN_TARGET: &str = "elpio::span";

/// In the context of a reconcile and of every span within it.
#[derive(Clone, Debug)]
pub(in crate::telemetry) struct CurrentReconcile {
    pub(in crate::telemetry) object: Arc<ObjectReference>,
    /// The object's `metadata.generation`.
    pub(in crate::telemetry) generation: i64,
    /// Present while it is undecided whether this trace is exported.
    pub(in crate::telemetry) sampling: Option<DeferredSampling>,
    /// Whether the trace ID is random, from the caller's flags; the SDK keeps only the sampled flag.
    pub(in crate::telemetry) is_random: bool,
    /// Creates the spans of requests; `None` without an exporter.
    pub(in crate::telemetry) tracer: Option<SdkTracer>,
}

/// In the context of a reconcile within a rollout: only the rollout decides about sampling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::telemetry) struct ForcedSampling(pub(in crate::telemetry) bool);

/// An action for when a trace is kept.
type Deferred = Box<dyn FnOnce() + Send>;

enum Decision {
    Open(Vec<Deferred>),
    Kept,
    Dropped,
}

/// Whether a tentative trace is exported. Handing out one of its IDs keeps it.
#[derive(Clone)]
pub(in crate::telemetry) struct DeferredSampling(Arc<Mutex<Decision>>);

impl DeferredSampling {
    pub(in crate::telemetry) fn open() -> Self {
        Self(Arc::new(Mutex::new(Decision::Open(Vec::new()))))
    }

    pub(in crate::telemetry) fn keep(&self) {
        let before = {
            let mut decision = self.0.lock();
            if matches!(*decision, Decision::Dropped) {
                return;
            }
            std::mem::replace(&mut *decision, Decision::Kept)
        };
        if let Decision::Open(deferred) = before {
            for act in deferred {
                act();
            }
        }
    }

    /// Drops the trace, unless it is already kept.
    pub(in crate::telemetry) fn drop_if_undecided(&self) {
        let mut decision = self.0.lock();
        if matches!(*decision, Decision::Open(_)) {
            *decision = Decision::Dropped;
        }
    }

    pub(in crate::telemetry) fn is_kept(&self) -> bool {
        matches!(*self.0.lock(), Decision::Kept)
    }

    /// Runs `act` now if the trace is kept, later once it is kept, never if it is dropped.
    pub(in crate::telemetry) fn on_keep(&self, act: impl FnOnce() + Send + 'static) {
        let mut decision = self.0.lock();
        match &mut *decision {
            Decision::Open(deferred) => deferred.push(Box::new(act)),
            Decision::Dropped => {}
            Decision::Kept => {
                drop(decision);
                act();
            }
        }
    }
}

impl std::fmt::Debug for DeferredSampling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("DeferredSampling").field(&self.is_kept()).finish()
    }
}

/// The IDs of a context's span, if it is sampled.
pub(in crate::telemetry) fn ids_of(cx: &Context) -> Option<SpanIds> {
    traceparent_in(cx).filter(TraceParent::is_sampled).map(SpanIds::from)
}

/// The `traceparent` of a context's span, sampled or not.
pub(in crate::telemetry) fn traceparent_in(cx: &Context) -> Option<TraceParent> {
    let is_random = cx.get::<CurrentReconcile>().is_some_and(|reconcile| reconcile.is_random);
    traceparent_of(cx.span().span_context(), is_random)
}

/// The current reconcile.
pub(in crate::telemetry) fn current_reconcile() -> Option<CurrentReconcile> {
    Context::map_current(|cx| cx.get::<CurrentReconcile>().cloned())
}

/// IDs for transient use, such as a log line: those of a sampled span whose trace is certain to be exported.
pub(in crate::telemetry) fn ids_if_kept() -> Option<SpanIds> {
    Context::map_current(|cx| {
        let certain = cx
            .get::<CurrentReconcile>()
            .and_then(|r| r.sampling.as_ref())
            .is_none_or(DeferredSampling::is_kept);
        if certain { ids_of(cx) } else { None }
    })
}

/// IDs for permanent use, such as an Event: keeps the trace, so that it is exported.
pub(in crate::telemetry) fn ids_and_keep() -> Option<SpanIds> {
    Context::map_current(|cx| {
        let ids = ids_of(cx)?;
        if let Some(sampling) = cx.get::<CurrentReconcile>().and_then(|r| r.sampling.as_ref()) {
            sampling.keep();
        }
        Some(ids)
    })
}

/// Keeps the trace of the current reconcile, if any.
pub(in crate::telemetry) fn keep_current_trace() {
    Context::map_current(|cx| {
        if let Some(sampling) = cx.get::<CurrentReconcile>().and_then(|r| r.sampling.as_ref()) {
            sampling.keep();
        }
    });
}
