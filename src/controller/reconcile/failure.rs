//! Summarizes the failures of an attempt: one class, one retry, one outcome. Pure.

use std::time::Duration;

use crate::{
    api::condition::{Condition, kind},
    cluster::apply::result::ApplyResult,
    controller::workqueue::retry,
    render::FieldError,
    status::conditions::find_condition,
    telemetry::{ErrorType, Failure, ReconcileOutcome},
};

/// The failures of an attempt, in terms of the retry table.
#[derive(Debug)]
pub struct FailureSummary {
    /// For telemetry and the log.
    pub failure: Option<Failure>,
    /// The pause before the next attempt, if any.
    pub retry: Option<Duration>,
    /// The minimum pause that the API server asked for.
    pub not_before: Option<Duration>,
    /// The outcome of the reconcile.
    pub outcome: ReconcileOutcome,
}

impl FailureSummary {
    /// Summarizes an attempt after `failures` consecutive failures; its status is not written yet.
    pub fn from_attempt(
        invalid: Option<&[FieldError]>,
        apply_result: &ApplyResult,
        conditions: &[Condition],
        failures: u32,
    ) -> Self {
        let mut summary =
            Self { failure: None, retry: None, not_before: None, outcome: ReconcileOutcome::Waiting };
        if let Some(errors) = invalid {
            let listed = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            summary.record(ErrorType::InvalidSpec, None, listed, failures);
            summary.outcome = ReconcileOutcome::Invalid;
        }
        for (class, retry_after, cause) in &apply_result.failures {
            summary.record(*class, *retry_after, cause.clone(), failures);
        }
        if summary.failure.is_none() {
            let blocked = apply_result.applied.names_in_use().next().is_some();
            // An engine's object that blocks a child is not ours, so no watch reports its deletion.
            summary.retry = blocked.then(|| retry::BACKOFF.jittered(failures));
            let ready = find_condition(conditions, kind::READY).is_some_and(|c| c.status == "True");
            summary.outcome = match (blocked, ready) {
                (true, _) => ReconcileOutcome::Pruning,
                (false, true) => ReconcileOutcome::Ready,
                (false, false) => ReconcileOutcome::Waiting,
            };
        }
        summary
    }

    /// The first failure determines the class, but a missing dependency only if nothing else failed. The
    /// earliest retry wins.
    pub fn record(&mut self, class: ErrorType, retry_after: Option<Duration>, cause: String, failures: u32) {
        let delay = retry::delay(class, failures, retry_after);
        self.retry = self.retry.into_iter().chain(delay).min();
        let asked = matches!(class, ErrorType::Throttled | ErrorType::Timeout | ErrorType::Unavailable);
        self.not_before = self.not_before.max(retry_after.filter(|_| asked));
        self.retry = self.retry.map(|delay| delay.max(self.not_before.unwrap_or_default()));
        self.outcome = ReconcileOutcome::Failed;
        if self.failure.as_ref().is_none_or(|known| {
            known.error_type == ErrorType::DependencyMissing && class != ErrorType::DependencyMissing
        }) {
            self.failure = Some(Failure { error_type: class, message: cause });
        }
    }
}
