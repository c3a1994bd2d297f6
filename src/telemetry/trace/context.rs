//! What the current OpenTelemetry context holds: the reconcile that runs, and whether its ids may be shown; it
//! opens no span.

use std::sync::Arc;

use opentelemetry::{Context, trace::TraceContextExt};
use opentelemetry_sdk::trace::SdkTracer;
use parking_lot::Mutex;

use crate::telemetry::trace::span_ids::{SpanIds, TraceParent, traceparent_of};

/// Target of the spans of reconciles and steps: the layer that exports spans takes these and no others,
/// whatever `RUST_LOG` is.
pub(in crate::telemetry) const SPAN_TARGET: &str = "elpio::span";

/// The object that is reconciled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::telemetry) struct ReconciledObject {
    pub(in crate::telemetry) kind: &'static str,
    pub(in crate::telemetry) api_version: &'static str,
    pub(in crate::telemetry) namespace: String,
    pub(in crate::telemetry) name: String,
    pub(in crate::telemetry) uid: String,
    pub(in crate::telemetry) generation: i64,
}

/// Lies in the context of a reconcile and of every span in it.
#[derive(Clone, Debug)]
pub(in crate::telemetry) struct CurrentReconcile {
    pub(in crate::telemetry) object: Arc<ReconciledObject>,
    /// Set when it is still open whether this trace is exported.
    pub(in crate::telemetry) sampling: Option<DeferredSampling>,
    /// The trace id is random, as a caller's flag has it; the SDK keeps no flag but the sampled one.
    pub(in crate::telemetry) is_random: bool,
    /// Makes the spans of requests; none where spans go nowhere.
    pub(in crate::telemetry) tracer: Option<SdkTracer>,
}

/// Lies in the context of a reconcile that is part of a rollout: whether the rollout is sampled decides,
/// nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::telemetry) struct ForcedSampling(pub(in crate::telemetry) bool);

/// What is done once a trace is known to be kept.
type Deferred = Box<dyn FnOnce() + Send>;

enum Decision {
    Open(Vec<Deferred>),
    Kept,
    Dropped,
}

/// Whether a tentative trace is exported. One of its ids that is handed out keeps it.
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

    /// Nothing is to be exported; without effect on a trace that is kept.
    pub(in crate::telemetry) fn drop_if_undecided(&self) {
        let mut decision = self.0.lock();
        if matches!(*decision, Decision::Open(_)) {
            *decision = Decision::Dropped;
        }
    }

    pub(in crate::telemetry) fn is_kept(&self) -> bool {
        matches!(*self.0.lock(), Decision::Kept)
    }

    /// Runs `act` now when the trace is kept, later when it comes to be kept, never when it is dropped.
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

/// Ids of the span of a context, when it is sampled.
pub(in crate::telemetry) fn ids_of(cx: &Context) -> Option<SpanIds> {
    traceparent_in(cx).filter(TraceParent::is_sampled).map(SpanIds::from)
}

/// The `traceparent` of the span of a context, sampled or not.
pub(in crate::telemetry) fn traceparent_in(cx: &Context) -> Option<TraceParent> {
    let is_random = cx.get::<CurrentReconcile>().is_some_and(|reconcile| reconcile.is_random);
    traceparent_of(cx.span().span_context(), is_random)
}

/// The reconcile that runs here.
pub(in crate::telemetry) fn current_reconcile() -> Option<CurrentReconcile> {
    Context::map_current(|cx| cx.get::<CurrentReconcile>().cloned())
}

/// Ids that may be shown in passing, as on a log line: of a sampled span whose trace is certain to be
/// exported.
pub(in crate::telemetry) fn ids_if_kept() -> Option<SpanIds> {
    Context::map_current(|cx| {
        let certain = cx
            .get::<CurrentReconcile>()
            .and_then(|r| r.sampling.as_ref())
            .is_none_or(DeferredSampling::is_kept);
        if certain { ids_of(cx) } else { None }
    })
}

/// Ids that are handed out for good, as to an Event: they make the trace one that is exported.
pub(in crate::telemetry) fn ids_and_keep() -> Option<SpanIds> {
    Context::map_current(|cx| {
        let ids = ids_of(cx)?;
        if let Some(sampling) = cx.get::<CurrentReconcile>().and_then(|r| r.sampling.as_ref()) {
            sampling.keep();
        }
        Some(ids)
    })
}

/// Makes the trace of the reconcile that runs here, if there is one, one that is exported.
pub(in crate::telemetry) fn keep_current_trace() {
    Context::map_current(|cx| {
        if let Some(sampling) = cx.get::<CurrentReconcile>().and_then(|r| r.sampling.as_ref()) {
            sampling.keep();
        }
    });
}
