//! What a reconcile came to, as telemetry, the queue and Events are told of it.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use crate::{
    api::{
        API_VERSION, annotation,
        condition::reason,
        event::{NewEvent, action, event_type},
    },
    cluster::{apply::result::ApplyResult, client::call::ApiError, events::recorder::Regarding},
    controller::kinds::{Kind, Object},
    render::applied::ChildOutcome,
    status::build::FinishedBuild,
    telemetry::{ApplyOutcome, HasReport, ReconcileOutcome, ReconcileReport},
};

/// What a reconcile came to.
#[derive(Debug)]
pub struct ReconcileResult<K: Kind> {
    /// What telemetry is told.
    pub report: ReconcileReport,
    /// When to come back without anything happening.
    pub retry: Option<Duration>,
    /// The API server asked not to be bothered before.
    pub not_before: Option<Duration>,
    /// When to render again, though nothing changes.
    pub due_at: Option<Timestamp>,
    /// A child was found changed and was corrected.
    pub corrected: bool,
    /// The resourceVersions of what was written.
    pub wrote: Vec<u64>,
    /// The status that stands now, when it could be written.
    pub status: Option<K::Status>,
    /// The status that could not be written, as far as we know.
    pub unanswered: Option<K::Status>,
    /// The rollout ends with either.
    pub ended: bool,
    /// The build whose end is told with either.
    pub finished: Option<FinishedBuild>,
}

impl<K: Kind> HasReport for ReconcileResult<K> {
    fn report(&self) -> ReconcileReport {
        self.report.clone()
    }
}

impl<K: Kind> ReconcileResult<K> {
    /// The object changed under our hands: nothing is said, since the next turn says it.
    #[must_use]
    pub fn stale(engine: Option<&'static str>, done: ApplyResult) -> Self {
        let report = ReconcileReport {
            failure: None,
            engine,
            outcome: ReconcileOutcome::Overtaken,
            applied: apply_counts(&done),
            changed_anything: !apply_counts(&done).is_empty(),
        };
        Self {
            report,
            retry: None,
            not_before: None,
            due_at: None,
            corrected: false,
            wrote: done.wrote,
            status: None,
            unanswered: None,
            ended: false,
            finished: None,
        }
    }
}

/// The Event for a status that could not be written.
#[must_use]
pub fn status_write_failed(error: &ApiError) -> NewEvent {
    let note = format!("{}: {error}", error.class.as_str());
    NewEvent {
        type_: event_type::WARNING,
        reason: reason::RECONCILE_FAILED,
        action: action::APPLY,
        note,
        related: None,
    }
}

/// What applying did to each child, for metrics.
#[must_use]
pub fn apply_counts(outcome: &ApplyResult) -> Vec<(&'static str, ApplyOutcome)> {
    let steps = outcome.applied.outcomes.iter().filter_map(|(id, step)| match step {
        ChildOutcome::Changed => Some((id.kind.label(), ApplyOutcome::Changed)),
        ChildOutcome::Unchanged => Some((id.kind.label(), ApplyOutcome::Unchanged)),
        _ => None,
    });
    steps.chain(outcome.applied.deleted.iter().map(|id| (id.kind.label(), ApplyOutcome::Deleted))).collect()
}

/// The object as Events name it.
pub fn event_reference<K: Kind>(object: &Object<K>, retried: bool) -> Regarding {
    let conditions = object.status.as_ref().map(K::conditions).unwrap_or_default();
    let changed = conditions.iter().map(|c| c.last_transition_time.0).max();
    let since = changed.or_else(|| object.metadata.creation_timestamp.as_ref().map(|at| at.0));
    Regarding {
        kind: K::KIND,
        api_version: API_VERSION,
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or(0),
        since: since.filter(|_| !retried),
        rebuild: object.annotations().get(annotation::REBUILD).cloned().unwrap_or_default(),
    }
}
