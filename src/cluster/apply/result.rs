//! What became of the children that were to be written: achievements, refusals and their classes. Pure.

use std::time::Duration;

use crate::{
    api::condition::reason,
    cluster::client::call::ApiError,
    render::{
        Child,
        applied::{Applied, ChildFailure, ChildOutcome},
    },
    telemetry::ErrorType,
};

/// What was achieved, and the class of each failure for the retry table.
#[derive(Debug, Default)]
pub struct ApplyResult {
    /// What was achieved.
    pub applied: Applied,
    /// Each failure's class, when the API server asks to come again, and the cause for logs and spans.
    pub failures: Vec<(ErrorType, Option<Duration>, String)>,
    /// The resourceVersions of what was written.
    pub wrote: Vec<u64>,
}

/// What became of one child that was not refused.
#[derive(Debug)]
pub enum WriteResult {
    /// It was written, at this resourceVersion.
    Written(u64),
    /// It was not.
    Not(ChildOutcome),
}

/// Why one child could not be written.
#[derive(Debug)]
pub struct ApplyError {
    /// Reason of the condition `Reconciled`.
    pub reason: &'static str,
    /// What sort of failure it is.
    pub class: ErrorType,
    /// What, which object, what to do.
    pub message: String,
    /// When the API server asks to come again.
    pub retry_after: Option<Duration>,
}

impl From<ApiError> for ApplyError {
    fn from(error: ApiError) -> Self {
        let reason =
            if error.class == ErrorType::Forbidden { reason::FORBIDDEN } else { reason::APPLY_FAILED };
        Self { reason, class: error.class, message: error.to_string(), retry_after: error.retry_after }
    }
}

impl ApplyResult {
    /// Takes note of a refusal.
    pub fn record_failure(&mut self, error: ApplyError) -> ChildFailure {
        self.failures.push((error.class, error.retry_after, error.message.clone()));
        ChildFailure { reason: error.reason, class: error.class.as_str(), message: error.message }
    }
}

/// A name that is still held by what is being deleted.
#[must_use]
pub fn name_terminating(holder: String) -> WriteResult {
    WriteResult::Not(ChildOutcome::NameInUse { holder })
}

/// A name that belongs to somebody else.
#[must_use]
pub fn name_conflict(child: &Child, by: &str) -> ApplyError {
    let message = format!(
        "{} {} belongs to {by}; delete or rename one of the two: nothing of it was touched",
        child.id.kind.display(),
        child.id.name
    );
    ApplyError { reason: reason::NAME_CONFLICT, class: ErrorType::NameConflict, message, retry_after: None }
}
