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

/// What was achieved, and the class of each failure for the retry table.
#[derive(Debug, Default)]
pub struct ApplyResult {
    /// What was achieved.
    pub applied: Applied,
    /// Each failure's class, when the API server asks to retry, and the cause for logs and spans.
    pub failures: Vec<(ErrorType, Option<Duration>, String)>,
    /// Why nothing more was written; what was achieved until then is no basis for a status.
    pub stopped: Option<StopReason>,
}

/// Why applying stopped before its end. Neither is a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The Lease is lost: another replica writes now.
    LeadershipLost,
    /// The owner was deleted, is being deleted, or was recreated under its name, since the reconcile began.
    OwnerDeleted,
}

/// The result of a child's write that the API server did not refuse.
#[derive(Debug)]
pub enum WriteResult {
    /// It was written.
    Written,
    /// It was not.
    NotWritten(ChildOutcome),
}

/// Why one child could not be written.
#[derive(Clone, Debug)]
pub struct ApplyError {
    /// Reason of the condition `Reconciled`.
    pub reason: &'static str,
    /// Its class.
    pub class: ErrorType,
    /// What failed, for which object, and what to do.
    pub message: String,
    /// When the API server asks to retry.
    pub retry_after: Option<Duration>,
}

/// Why a write did not take place.
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
    /// Nothing is written: `error` stands in the way of the child `id`, and the others wait for it.
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

    /// Records a failure.
    pub fn record_failure(&mut self, error: ApplyError) -> ChildFailure {
        self.failures.push((error.class, error.retry_after, error.message.clone()));
        ChildFailure { reason: error.reason, class: error.class.as_str(), message: error.message }
    }
}

impl ApplyError {
    /// A failure of the class, from which the condition's reason follows.
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

/// The desired name is still in use by what is being deleted.
#[must_use]
pub fn name_terminating(holder: String) -> WriteResult {
    WriteResult::NotWritten(ChildOutcome::NameInUse { holder })
}

/// The desired name belongs to an object that this owner does not control.
#[must_use]
pub fn name_conflict(id: &ChildId, owner: &str) -> ApplyError {
    let message = format!(
        "{id} already exists and belongs to {owner}; rename or delete one of them (Elpio did not modify it)"
    );
    ApplyError::new(ErrorType::NameConflict, message)
}
