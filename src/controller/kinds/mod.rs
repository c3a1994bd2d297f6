//! What differs between our kinds, as a trait; everything else is the pipeline's. Implementations are pure.

pub mod function;
pub mod service;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    api::{LenientObject, RolloutStatus, condition::Condition, stored::SpecOf},
    foreign::ChildKind,
    render::{Defaults, Desired, FieldError, Owner, applied::LiveChildren},
    status::{Observation, StatusInput, StatusUpdate, build::FinishedBuild},
    telemetry,
};

/// An object of a kind as the watch holds it.
pub type Object<K> = LenientObject<<K as Kind>::Spec, <K as Kind>::Status>;

/// Who is being reconciled, and in which rollout.
#[derive(Clone, Copy, Debug)]
pub struct ReconcileContext<'a> {
    /// The owner of the children.
    pub owner: Owner<'a>,
    /// The owner's annotations.
    pub annotations: &'a BTreeMap<String, String>,
    /// The children as they are.
    pub live: &'a LiveChildren,
    /// What the children control in turn, where it is watched.
    pub grandchildren: &'a LiveChildren,
    /// The rollout of this generation.
    pub rollout: &'a RolloutStatus,
    /// What the operator fills in.
    pub defaults: &'a Defaults,
    /// Now.
    pub now: Timestamp,
}

/// One of our kinds.
pub trait Kind: Send + Sync + Sized + 'static {
    /// Its spec.
    type Spec: SpecOf + DeserializeOwned + Clone + std::fmt::Debug + Send + Sync + 'static;
    /// Its status.
    type Status: Serialize + DeserializeOwned + Clone + PartialEq + std::fmt::Debug + Send + Sync + 'static;
    /// Its spec once every rule has been checked.
    type Valid: Send + Sync;

    /// Its name.
    const KIND: telemetry::Kind;
    /// The label that its children carry.
    const OWNER_LABEL: &'static str;
    /// The kinds of its children, and of what is watched of theirs.
    const CHILD_KINDS: &'static [ChildKind];
    /// Whether the annotation `elpio.io/rebuild` begins a rollout.
    const SUPPORTS_REBUILD: bool = false;

    /// Checks every rule.
    ///
    /// # Errors
    /// Every fault that was found.
    fn validate(
        name: &str,
        spec: &Self::Spec,
        annotations: &BTreeMap<String, String>,
        defaults: &Defaults,
    ) -> Result<Self::Valid, Vec<FieldError>>;

    /// What a valid spec asks for; `previous` is the status.
    fn render(ctx: &ReconcileContext<'_>, previous: Option<&Self::Status>, valid: &Self::Valid) -> Desired;

    /// The status after a reconcile.
    fn compute_status(
        ctx: &ReconcileContext<'_>,
        previous: Option<&Self::Status>,
        observation: Observation<'_, Self::Valid>,
        input: &StatusInput,
    ) -> StatusUpdate<Self::Status>;

    /// The builds among the children that have come to an end.
    #[must_use]
    fn finished_builds(_live: &LiveChildren, _details: &LiveChildren) -> Vec<FinishedBuild> {
        Vec::new()
    }

    /// How much longer than the configured deadline its rollouts may take.
    #[must_use]
    fn extra_rollout_time(_spec: &Self::Spec) -> SignedDuration {
        SignedDuration::ZERO
    }

    /// The generation that the status speaks of.
    fn observed_generation(status: &Self::Status) -> Option<i64>;

    /// The conditions of a status.
    fn conditions(status: &Self::Status) -> &[Condition];

    /// The rollout in a status.
    fn rollout(status: &Self::Status) -> Option<&RolloutStatus>;

    /// The engine in a status, as metrics name it.
    fn engine(status: &Self::Status) -> Option<&'static str>;
}
