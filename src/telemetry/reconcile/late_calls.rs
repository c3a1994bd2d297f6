//! Calls of a reconcile that has ended, as those for an Event that could not be written at once: they are in its
//! trace, and have its ids in the audit log. It makes none.

use std::future::Future;

use opentelemetry::{
    Context,
    trace::{SpanContext, TraceContextExt},
};
use tracing::Instrument;

use crate::telemetry::{
    catalog::attributes::ReconcileStep,
    reconcile::steps::step,
    trace::context::{CurrentReconcile, ForcedSampling, current_reconcile},
};

/// A reconcile, and the span in it, that asked for a call which may be made later.
#[derive(Clone, Debug)]
pub struct CallingReconcile {
    span: SpanContext,
    reconcile: CurrentReconcile,
}

impl CallingReconcile {
    /// The one that runs here. Whether its trace is exported must be decided: see `current_ids`.
    #[must_use]
    pub fn current() -> Option<Self> {
        let reconcile = CurrentReconcile { sampling: None, ..current_reconcile()? };
        Some(Self { span: Context::map_current(|cx| cx.span().span_context().clone()), reconcile })
    }

    /// Awaits `call`, in a step of `caller` where no reconcile runs here.
    pub async fn run<T>(caller: Option<&Self>, call: impl Future<Output = T>) -> T {
        let Some(caller) = caller.filter(|_| current_reconcile().is_none()) else { return call.await };
        let span = {
            let _current = caller.context().attach();
            step(ReconcileStep::Event)
        };
        call.instrument(span).await
    }

    fn context(&self) -> Context {
        let sampled = ForcedSampling(self.span.is_sampled());
        let cx = Context::new().with_remote_span_context(self.span.clone());
        cx.with_value(self.reconcile.clone()).with_value(sampled)
    }
}
