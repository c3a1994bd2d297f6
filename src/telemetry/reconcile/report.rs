//! The input and the report of a reconcile, for its wrapper; types only.

use std::{any::Any, sync::Arc};

use crate::telemetry::{
    catalog::attributes::{ApplyOutcome, ChildKind, ErrorType, ReconcileOutcome, Trigger},
    object_reference::ObjectReference,
    trace::rollout_context::RolloutContext,
};

/// The input of the wrapper.
#[derive(Clone, Debug)]
pub struct ReconcileInfo {
    /// The object.
    pub object: Arc<ObjectReference>,
    /// Its `metadata.generation`.
    pub generation: i64,
    /// The trigger of this reconcile.
    pub trigger: Trigger,
    /// 0 for the first attempt.
    pub attempt: u32,
    /// The parent of its span.
    pub parent: SpanParent,
}

/// The relation of a reconcile's span to the rollout's trace.
#[derive(Clone, Debug)]
pub enum SpanParent {
    /// In the rollout's trace, as a child.
    InRollout(RolloutContext),
    /// In a separate trace with a link to the rollout; exported only if the reconcile wrote something,
    /// published an Event, or failed.
    AfterRollout(Option<RolloutContext>),
}

/// Why a reconcile failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its class.
    pub error_type: ErrorType,
    /// The error and its causes.
    pub message: String,
}

/// The report of a reconcile.
#[derive(Clone, Debug, Default)]
pub struct ReconcileReport {
    /// The failure, if the operator failed.
    pub failure: Option<Failure>,
    /// The engine, if known.
    pub engine: Option<&'static str>,
    /// The outcome.
    pub outcome: ReconcileOutcome,
    /// Each applied or deleted child, with its outcome.
    pub applied: Vec<(ChildKind, ApplyOutcome)>,
    /// Whether it wrote something or published an Event.
    pub changed_anything: bool,
    /// The reason of `Ready`, if that is not `True`.
    pub ready_reason: Option<String>,
    /// The message of `Ready`, if that is not `True`.
    pub ready_message: Option<String>,
    /// The reason of the Warning that it published, if it is the first reconcile to detect the problem.
    pub warning_event: Option<&'static str>,
}

impl ReconcileReport {
    /// The reason and message of `Ready`, joined.
    pub(in crate::telemetry) fn not_ready(&self) -> Option<String> {
        let reason = self.ready_reason.as_deref()?;
        Some(format!("{reason}: {}", self.ready_message.as_deref().unwrap_or_default()))
    }
}

/// A reconcile panicked. It is recorded as failed; retry it like any failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the reconcile panicked: {message}")]
pub struct ReconcilePanicked {
    message: String,
}

impl ReconcilePanicked {
    /// The panic's message.
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
