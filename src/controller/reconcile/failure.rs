//! What the failures of a pass add up to: one class, one retry, one outcome. Pure.

use std::time::Duration;

use crate::{
    api::condition::{Condition, kind},
    cluster::apply::result::ApplyResult,
    controller::workqueue::backoff,
    render::FieldError,
    status::conditions::find_condition,
    telemetry::{ErrorType, Failure, ReconcileOutcome},
};

/// The failures of a pass, in the words of the retry table.
#[derive(Debug)]
pub struct FailureSummary {
    /// What telemetry and the log are told.
    pub failure: Option<Failure>,
    /// When to try again.
    pub retry: Option<Duration>,
    /// When to try again at the earliest.
    pub not_before: Option<Duration>,
    /// What the run came to.
    pub outcome: ReconcileOutcome,
    /// The status was written, so what it tells is told.
    pub status_stands: bool,
}

impl FailureSummary {
    /// Of a pass whose status has not been written yet; `failures` attempts in a row have failed before it.
    pub fn from_attempt(
        invalid: Option<&[FieldError]>,
        done: &ApplyResult,
        conditions: &[Condition],
        failures: u32,
    ) -> Self {
        let mut summary = Self {
            failure: None,
            retry: None,
            not_before: None,
            outcome: ReconcileOutcome::Waiting,
            status_stands: true,
        };
        if let Some(errors) = invalid {
            let listed = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            summary.record(ErrorType::InvalidSpec, None, listed, failures);
            summary.outcome = ReconcileOutcome::Invalid;
        }
        for (class, retry_after, cause) in &done.failures {
            summary.record(*class, *retry_after, cause.clone(), failures);
        }
        summary.status_stands = true;
        if summary.failure.is_none() {
            let held = done.applied.names_in_use().next().is_some();
            // What an engine still holds is no child of ours, so no watch tells when it is gone.
            summary.retry = held.then(|| backoff::backoff(failures, backoff::jitter()));
            let ready = find_condition(conditions, kind::READY).is_some_and(|c| c.status == "True");
            summary.outcome = match (held, ready) {
                (true, _) => ReconcileOutcome::Pruning,
                (false, true) => ReconcileOutcome::Ready,
                (false, false) => ReconcileOutcome::Waiting,
            };
        }
        summary
    }

    /// The first failure names the class, but a dependency that is missing does so only when nothing else
    /// failed. The earliest retry counts.
    pub fn record(&mut self, class: ErrorType, retry_after: Option<Duration>, cause: String, failures: u32) {
        let pause = backoff::delay(class, failures, retry_after, backoff::jitter());
        self.retry = self.retry.into_iter().chain(pause).min();
        let asked = matches!(class, ErrorType::Throttled | ErrorType::Timeout | ErrorType::Unavailable);
        self.not_before = self.not_before.max(retry_after.filter(|_| asked));
        self.retry = self.retry.map(|pause| pause.max(self.not_before.unwrap_or_default()));
        self.outcome = ReconcileOutcome::Failed;
        self.status_stands = false;
        if self.failure.as_ref().is_none_or(|known| {
            known.error_type == ErrorType::DependencyMissing && class != ErrorType::DependencyMissing
        }) {
            self.failure = Some(Failure { error_type: class, message: cause });
        }
    }
}
