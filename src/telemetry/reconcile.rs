//! The wrapper round every reconcile: its span, its metrics, its one log line; it never changes what the reconcile returns.

use std::future::Future;

use super::metrics::Metrics;
use super::rollout::RolloutContext;
use super::traces::Traces;
use super::vocabulary::{ApplyOutcome, ErrorType, Kind, Trigger};

/// What is known before a reconcile.
#[derive(Clone, Debug)]
pub struct ReconcileInfo {
    /// Kind of the object.
    pub kind: Kind,
    /// Its `apiVersion`.
    pub api_version: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its `metadata.generation`.
    pub generation: i64,
    /// What caused this run.
    pub trigger: Trigger,
    /// 0 for a first try.
    pub attempt: u32,
    /// Where its span belongs.
    pub place: Place,
}

/// Where the span of a reconcile belongs.
#[derive(Clone, Debug)]
pub enum Place {
    /// A child in the rollout's trace.
    InRollout(RolloutContext),
    /// A trace of its own with a link to the rollout; exported only if the run wrote or said something, or failed.
    AfterRollout(Option<RolloutContext>),
}

/// Why a reconcile failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its class.
    pub error_type: ErrorType,
    /// What users are told.
    pub short: String,
    /// The whole chain of causes, for the log.
    pub chain: String,
}

/// What a reconcile did.
#[derive(Clone, Debug)]
pub struct Report {
    /// Set when the operator failed to do its work.
    pub failure: Option<Failure>,
    /// The engine, when it is known.
    pub engine: Option<&'static str>,
    /// `elpio.outcome`, a constant.
    pub outcome: &'static str,
    /// Child label and what applying it did.
    pub applied: Vec<(&'static str, ApplyOutcome)>,
    /// Something was written or said.
    pub wrote: bool,
}

/// Implemented by what a reconcile returns.
pub trait Reported {
    /// What the run did.
    fn report(&self) -> Report;
}

impl Metrics {
    /// Runs one reconcile inside its span and records it.
    pub async fn reconcile<T: Reported, F: Future<Output = T>>(
        &self,
        traces: &Traces,
        info: ReconcileInfo,
        run: F,
    ) -> T {
        let _ = (traces, info);
        run.await
    }
}

/// Span of a step: `observe`, `validate`, `render`, `status`, `event`.
#[must_use]
pub fn step(name: &'static str) -> tracing::Span {
    let _ = name;
    todo!()
}

/// Span of a step for one child: `apply Service`.
#[must_use]
pub fn step_for(name: &'static str, child: &str) -> tracing::Span {
    let _ = (name, child);
    todo!()
}

/// Marks a step as failed: status, `error.type`, exception event.
pub fn fail_step(span: &tracing::Span, error_type: ErrorType, message: &str) {
    let _ = (span, error_type, message);
    todo!()
}
