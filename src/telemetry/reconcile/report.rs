//! What is known of a reconcile before and after it, as its wrapper takes it; types only.

use std::any::Any;

use crate::telemetry::{
    catalog::attributes::{ApplyOutcome, ChildKind, ErrorType, Kind, ReconcileOutcome, Trigger},
    trace::rollout_context::RolloutContext,
};

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
    /// What caused this reconcile.
    pub trigger: Trigger,
    /// 0 for a first try.
    pub attempt: u32,
    /// Where its span belongs.
    pub parent: SpanParent,
}

/// Where the span of a reconcile belongs.
#[derive(Clone, Debug)]
pub enum SpanParent {
    /// A child in the rollout's trace.
    InRollout(RolloutContext),
    /// A trace of its own with a link to the rollout; exported only if the reconcile wrote something, published
    /// an Event, or failed.
    AfterRollout(Option<RolloutContext>),
}

/// Why a reconcile failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its class.
    pub error_type: ErrorType,
    /// The error with its causes.
    pub message: String,
}

/// What a reconcile did.
#[derive(Clone, Debug, Default)]
pub struct ReconcileReport {
    /// Set when the operator failed to do its work.
    pub failure: Option<Failure>,
    /// The engine, when it is known.
    pub engine: Option<&'static str>,
    /// What it came to.
    pub outcome: ReconcileOutcome,
    /// Each child that was applied or deleted, and what that did.
    pub applied: Vec<(ChildKind, ApplyOutcome)>,
    /// Something was written, or an Event published.
    pub changed_anything: bool,
    /// The reason of `Ready` while it is not true.
    pub ready_reason: Option<String>,
    /// The message of `Ready` while it is not true.
    pub ready_message: Option<String>,
    /// The reason of the Event of type Warning that it published: it is the first that saw what is wrong.
    pub warning_event: Option<&'static str>,
}

impl ReconcileReport {
    /// Reason and message of `Ready`, as one text.
    pub(in crate::telemetry) fn not_ready(&self) -> Option<String> {
        let reason = self.ready_reason.as_deref()?;
        Some(format!("{reason}: {}", self.ready_message.as_deref().unwrap_or_default()))
    }
}

/// A reconcile panicked. It has been recorded as one that failed; it is to be retried as such.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the reconcile panicked: {message}")]
pub struct ReconcilePanicked {
    message: String,
}

impl ReconcilePanicked {
    /// What a panic said.
    #[must_use]
    pub fn from_payload(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self { message: text.unwrap_or("without a message").to_owned() }
    }

    pub(super) fn report(&self) -> ReconcileReport {
        ReconcileReport {
            failure: Some(Failure { error_type: ErrorType::Internal, message: self.to_string() }),
            outcome: ReconcileOutcome::Failed,
            ..ReconcileReport::default()
        }
    }
}
