//! The tracer of the operator and the questions asked of it; spans are opened by the reconcile wrapper and the client layer.

use super::rollout::{RolloutContext, RolloutSeed, RolloutSpan, SpanIds};
use super::vocabulary::Kind;

/// Handle for traces; cheap to clone.
#[derive(Clone)]
pub struct Traces {}

/// One occurrence of an Event.
#[derive(Clone, Debug)]
pub struct EventLog {
    /// Kind of the object it regards.
    pub kind: Kind,
    /// Its `apiVersion`.
    pub api_version: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// `Normal` or `Warning`.
    pub type_: &'static str,
    /// The Event's reason.
    pub reason: &'static str,
    /// The Event's action.
    pub action: &'static str,
    /// What it says.
    pub note: String,
}

impl Traces {
    /// Begins a rollout: derives its ids and asks the configured sampler.
    #[must_use]
    pub fn begin_rollout(&self, seed: &RolloutSeed<'_>) -> RolloutContext {
        let _ = seed;
        todo!()
    }
    /// Takes a rollout up again from `status.rollout`.
    #[must_use]
    pub fn resume_rollout(
        &self,
        traceparent: Option<&str>,
        parent: Option<&str>,
        seed: &RolloutSeed<'_>,
    ) -> RolloutContext {
        let _ = (traceparent, parent, seed);
        todo!()
    }
    /// Emits the root span of a rollout, if it is sampled.
    pub fn emit_rollout(&self, span: RolloutSpan) {
        let _ = span;
        todo!()
    }
    /// Emits the log record of an Event's occurrence with the current ids.
    pub fn event_log(&self, event: &EventLog) {
        let _ = event;
        todo!()
    }
}

/// Ids of the current span, only when it is sampled.
#[must_use]
pub fn current_ids() -> Option<SpanIds> {
    todo!()
}
