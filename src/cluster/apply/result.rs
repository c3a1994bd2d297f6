//! The result of applying an owner's children: outcomes, failures and their classes. Pure.

use std::time::Duration;

use crate::{
    api::condition::reason,
    cluster::client::call::ApiError,
    render::{
        Child, ChildId,
        applied::{Applied, ChildFailure, ChildOutcome},
    },
    telemetry::ErrorType,
};

/// The outcome of each child, and the failures for the retry table.
#[derive(Debug, Default)]
pub struct ApplyResult {
    /// The outcome of each child.
    pub applied: Applied,
    /// Each failure's class, the API server's `Retry-After`, and the cause for logs and spans.
    pub failures: Vec<(ErrorType, Option<Duration>, String)>,
    /// Why applying stopped early; in that case `applied` is incomplete and no basis for a status.
    pub stopped: Option<StopReason>,
}

/// Why applying stopped early. Neither is a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// This replica lost the Lease: another one writes now.
    LeadershipLost,
    /// Since the reconcile began, the owner was deleted, marked for deletion, or recreated under its name.
    OwnerDeleted,
}

/// The result of a child's write that did not fail.
#[derive(Debug)]
pub enum WriteResult {
    /// The child was written.
    Written,
    /// The child was not written, with this outcome.
    NotWritten(ChildOutcome),
}

/// Why one child could not be written.
#[derive(Clone, Debug)]
pub struct ApplyError {
    /// Reason of the condition `Reconciled`.
    pub reason: &'static str,
    /// The class of the failure.
    pub class: ErrorType,
    /// What failed, for which object, and what to do.
    pub message: String,
    /// The API server's `Retry-After`.
    pub retry_after: Option<Duration>,
}

/// Why a write did not happen.
#[derive(Debug)]
pub enum WriteError {
    /// Nothing more may be written for this owner.
    Stopped(StopReason),
    /// This write failed.
    Failed(ApplyError),
}

impl From<ApiError> for ApplyError {
    fn from(error: ApiError) -> Self {
        Self { retry_after: error.retry_after, ..Self::new(error.class, error.to_string()) }
    }
}

impl From<ApiError> for WriteError {
    fn from(error: ApiError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<ApplyError> for WriteError {
    fn from(error: ApplyError) -> Self {
        Self::Failed(error)
    }
}

impl From<StopReason> for WriteError {
    fn from(reason: StopReason) -> Self {
        Self::Stopped(reason)
    }
}

impl ApplyResult {
    /// Records that nothing is written: `error` blocks the child `id`, and the other children wait for it.
    pub fn withhold(&mut self, desired: &[Child], id: &ChildId, error: ApplyError) {
        let failure = self.record_failure(error);
        let outcome = |child: &Child| {
            if child.id == *id {
                ChildOutcome::Failed(failure.clone())
            } else {
                ChildOutcome::Blocked { on: id.clone() }
            }
        };
        self.applied.outcomes = desired.iter().map(|child| (child.id.clone(), outcome(child))).collect();
    }

    /// Records a failure. Returns it for the status.
    pub fn record_failure(&mut self, error: ApplyError) -> ChildFailure {
        self.failures.push((error.class, error.retry_after, error.message.clone()));
        ChildFailure { reason: error.reason, class: error.class.as_str(), message: error.message }
    }
}

impl ApplyError {
    /// A failure of this class, which also determines the condition's reason.
    #[must_use]
    pub fn new(class: ErrorType, message: String) -> Self {
        let reason = match class {
            ErrorType::Forbidden => reason::FORBIDDEN,
            ErrorType::NameConflict => reason::NAME_CONFLICT,
            ErrorType::DependencyMissing => reason::DEPENDENCY_MISSING,
            _ => reason::APPLY_FAILED,
        };
        Self { reason, class, message, retry_after: None }
    }
}

/// The name is still used by an object that is being deleted.
#[must_use]
pub fn name_terminating(holder: String) -> WriteResult {
    WriteResult::NotWritten(ChildOutcome::NameInUse { holder })
}

/// The name belongs to an object that this owner does not control.
#[must_use]
pub fn name_conflict(id: &ChildId, owner: &str) -> ApplyError {
    let message = format!(
        "{id} already exists and belongs to {owner}; rename or delete one of them (Elpio did not modify it)"
    );
    ApplyError::new(ErrorType::NameConflict, message)
}
