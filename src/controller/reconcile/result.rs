//! The result of a reconcile: the report for telemetry, and when to requeue. Pure.

use std::{borrow::Borrow, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::{
    api::{
        Engine, StatusParts,
        condition::{kind, reason},
        event::{NewEvent, action, event_type},
    },
    cluster::{apply::result::ApplyResult, client::call::ApiError, clock, store::resource_version},
    controller::{
        kinds::Kind,
        reconcile::{
            Published, ReconcileRequest,
            attempt::{Attempt, SpecOutcome},
            failure::FailureSummary,
            status_write::StatusWrite,
        },
        workqueue::{Requeue, retry},
    },
    foreign::ChildKind,
    render::applied::ChildOutcome,
    status::{conditions::find_condition, rollout::deadline_at, transitions::new_event},
    telemetry::{ApplyOutcome, ErrorType, ReconcileOutcome, ReconcilePanicked, ReconcileReport, Trigger},
};

/// The result of a reconcile.
#[derive(Debug)]
pub struct ReconcileResult {
    /// For telemetry.
    pub report: ReconcileReport,
    /// For the queue.
    pub requeue: Requeue,
    /// The object's resourceVersion after the reconcile, if it completed.
    pub resource_version_after: Option<u64>,
}

impl Borrow<ReconcileReport> for ReconcileResult {
    fn borrow(&self) -> &ReconcileReport {
        &self.report
    }
}

impl ReconcileResult {
    /// Summarizes an attempt after its status was written and its Events were published.
    pub(super) fn new<K: Kind>(
        request: &ReconcileRequest<'_, K>,
        attempt: &Attempt<K::Status>,
        written: &StatusWrite,
        published: Published,
        rollout_timeout: SignedDuration,
    ) -> Self {
        let (apply_result, status) = (&attempt.result, &attempt.update.status);
        let failures = request.item.failures;
        let invalid = attempt.invalid.as_deref();
        let mut summary = FailureSummary::from_attempt(invalid, apply_result, status.conditions(), failures);
        let is_written = matches!(written, StatusWrite::Written(_));
        let stored = match written {
            StatusWrite::Written(_) | StatusWrite::Unchanged => Some(status),
            StatusWrite::Stale | StatusWrite::Failed(_) => request.object.status.as_ref(),
        };
        if let StatusWrite::Failed(error) = written {
            summary.record(error.class, error.retry_after, error.to_string(), failures);
        }
        if matches!(written, StatusWrite::Stale) && summary.failure.is_none() {
            let is_repeated = request.item.conflicts >= retry::immediate_retries(ErrorType::Conflict);
            let pause = is_repeated.then(|| retry::BACKOFF.jittered(failures));
            return Self::stale(apply_result, status.engine(), pause);
        }
        let corrected = match request.item.trigger {
            Trigger::Child => attempt.child_corrected,
            Trigger::Resync => is_written,
            _ => false,
        };
        let unready = find_condition(status.conditions(), kind::READY).filter(|c| c.status != "True");
        let report = ReconcileReport {
            engine: status.engine().map(Engine::as_str),
            outcome: summary.outcome,
            applied: apply_counts(apply_result),
            changed_anything: is_written || published != Published::Nothing || has_changed(apply_result),
            failure: summary.failure,
            ready_reason: unready.map(|condition| condition.reason.clone()),
            ready_message: unready.map(|condition| condition.message.clone()),
            warning_event: match published {
                Published::Warning(reason) => Some(reason),
                Published::Nothing | Published::Normal => None,
            },
        };
        let deadline_at =
            stored.and_then(StatusParts::rollout).and_then(|rollout| deadline_at(rollout, rollout_timeout));
        let times = [deadline_at, attempt.due_at].into_iter().flatten();
        let requeue = Requeue {
            retry_after: summary.retry,
            immediate: false,
            requeue_at: times.filter_map(|at| resync_time(at, summary.retry.is_some())).min(),
            not_before: summary.not_before.map(|delay| Instant::now() + delay),
            corrected_drift: corrected,
        };
        let resource_version_after = match written {
            StatusWrite::Written(version) => Some(*version),
            StatusWrite::Unchanged => Some(resource_version(request.object)),
            StatusWrite::Stale | StatusWrite::Failed(_) => None,
        };
        Self { report, requeue, resource_version_after }
    }

    /// The result if the attempt met a newer state than it knew and must be repeated at once; `None` if the
    /// attempt counts.
    pub(super) fn retry_if_stale<K: Kind>(
        applied: &SpecOutcome<K>,
        request: &ReconcileRequest<'_, K>,
        is_leader: bool,
    ) -> Option<Self> {
        let SpecOutcome::Applied { result, .. } = applied else { return None };
        let engine = request.object.status.as_ref().and_then(StatusParts::engine);
        if result.stopped.is_some() || !is_leader {
            // Another replica leads, or the owner is being deleted: `apply_result` is no basis for a status.
            return Some(Self { requeue: Requeue::default(), ..Self::stale(result, engine, None) });
        }
        let retries = result.failures.iter().map(|(class, ..)| retry::immediate_retries(*class)).max()?;
        (request.item.conflicts < retries).then(|| Self::stale(result, engine, None))
    }

    /// A result that requests another attempt: at once, or after a pause if the watch has not delivered the
    /// newer state for a while.
    fn stale(apply_result: &ApplyResult, engine: Option<Engine>, pause: Option<Duration>) -> Self {
        let report = ReconcileReport {
            engine: engine.map(Engine::as_str),
            outcome: ReconcileOutcome::Overtaken,
            applied: apply_counts(apply_result),
            changed_anything: has_changed(apply_result),
            ..ReconcileReport::default()
        };
        let requeue = Requeue { immediate: pause.is_none(), retry_after: pause, ..Requeue::default() };
        Self { report, requeue, resource_version_after: None }
    }
}

/// `at` on the queue's clock. A time that passed during the attempt is due at once, unless the attempt is
/// retried anyway.
fn resync_time(at: Timestamp, is_retried: bool) -> Option<Instant> {
    let left = Duration::try_from(at.duration_since(clock::now())).unwrap_or_default();
    (!left.is_zero() || !is_retried).then(|| Instant::now() + left)
}

/// The Event for a status that could not be written.
#[must_use]
pub fn status_write_failed(error: &ApiError) -> NewEvent {
    reconcile_failed(error.class, error)
}

/// The Event for a reconcile that panicked.
#[must_use]
pub fn reconcile_panicked(panicked: &ReconcilePanicked) -> NewEvent {
    reconcile_failed(ErrorType::Internal, panicked)
}

fn reconcile_failed(class: ErrorType, error: &dyn std::fmt::Display) -> NewEvent {
    let note = format!("{}: {error}", class.as_str());
    NewEvent {
        cause: class.as_str().to_owned(),
        ..new_event(event_type::WARNING, reason::RECONCILE_FAILED, action::APPLY, note)
    }
}

fn has_changed(apply_result: &ApplyResult) -> bool {
    let changed = |(_, outcome): &(_, ChildOutcome)| *outcome == ChildOutcome::Changed;
    apply_result.applied.outcomes.iter().any(changed) || !apply_result.applied.deleted.is_empty()
}

/// The outcome of applying each child, for metrics.
fn apply_counts(apply_result: &ApplyResult) -> Vec<(ChildKind, ApplyOutcome)> {
    let outcomes = apply_result.applied.outcomes.iter().filter_map(|(id, outcome)| match outcome {
        ChildOutcome::Changed => Some((id.kind, ApplyOutcome::Changed)),
        ChildOutcome::Unchanged => Some((id.kind, ApplyOutcome::Unchanged)),
        _ => None,
    });
    outcomes.chain(apply_result.applied.deleted.iter().map(|id| (id.kind, ApplyOutcome::Deleted))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_has_just_passed_is_due_at_once() {
        let now = clock::now();
        let (past, future) = (now - SignedDuration::from_millis(1), now + SignedDuration::from_mins(1));
        assert!(
            resync_time(past, false).is_some_and(|at| at <= Instant::now()),
            "nothing else would wake it"
        );
        assert_eq!(resync_time(past, true), None, "the retry comes, after its pause");
        for is_retried in [true, false] {
            assert!(resync_time(future, is_retried).is_some_and(|at| at > Instant::now()));
        }
    }
}
