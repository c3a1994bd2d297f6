//! Calls that a reconcile causes after its end, such as those for a delayed Event: they belong to its trace
//! and have its IDs in the audit log. It makes none.

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

/// A reconcile, and the span within it, on whose behalf a later call is made.
#[derive(Clone, Debug)]
pub struct CallingReconcile {
    span: SpanContext,
    reconcile: CurrentReconcile,
}

impl CallingReconcile {
    /// The current reconcile. Its trace must already be kept or dropped: see `current_ids`.
    #[must_use]
    pub fn current() -> Option<Self> {
        let reconcile = CurrentReconcile { sampling: None, ..current_reconcile()? };
        Some(Self { span: Context::map_current(|cx| cx.span().span_context().clone()), reconcile })
    }

    /// Awaits `call`, in a step of `caller` if no reconcile is current.
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
