//! What became of the children that were to be written: achievements, refusals and their classes. Pure.

use std::time::Duration;

use crate::{
    api::condition::reason,
    cluster::client::call::CallError,
    render::{
        Child,
        applied::{Applied, ChildFailure, Step},
    },
    telemetry::ErrorType,
};

/// What was achieved, and the class of each failure for the retry table.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What was achieved.
    pub applied: Applied,
    /// Each failure's class, when the API server asks to come again, and the cause for logs and spans.
    pub failures: Vec<(ErrorType, Option<Duration>, String)>,
    /// The resourceVersions of what was written.
    pub wrote: Vec<u64>,
}

/// What became of one child that was not refused.
#[derive(Debug)]
pub enum Made {
    /// It was written, at this resourceVersion.
    Written(u64),
    /// It was not.
    Not(Step),
}

/// Why one child could not be written.
#[derive(Debug)]
pub struct Refusal {
    /// Reason of the condition `Reconciled`.
    pub reason: &'static str,
    /// What sort of failure it is.
    pub class: ErrorType,
    /// What, which object, what to do.
    pub message: String,
    /// When the API server asks to come again.
    pub retry_after: Option<Duration>,
}

impl From<CallError> for Refusal {
    fn from(error: CallError) -> Self {
        let reason =
            if error.class == ErrorType::Forbidden { reason::FORBIDDEN } else { reason::APPLY_FAILED };
        Self { reason, class: error.class, message: error.to_string(), retry_after: error.retry_after }
    }
}

impl Outcome {
    /// Takes note of a refusal.
    pub fn failed(&mut self, refusal: Refusal) -> ChildFailure {
        self.failures.push((refusal.class, refusal.retry_after, refusal.message.clone()));
        ChildFailure { reason: refusal.reason, class: refusal.class.as_str(), message: refusal.message }
    }
}

/// A name that is still held by what is being deleted.
#[must_use]
pub fn leaving(holder: String) -> Made {
    Made::Not(Step::Leaving { holder })
}

/// A name that belongs to somebody else.
#[must_use]
pub fn taken(child: &Child, by: &str) -> Refusal {
    let message = format!(
        "{} {} belongs to {by}; delete or rename one of the two: nothing of it was touched",
        child.id.kind.display(),
        child.id.name
    );
    Refusal { reason: reason::NAME_CONFLICT, class: ErrorType::NameConflict, message, retry_after: None }
}
