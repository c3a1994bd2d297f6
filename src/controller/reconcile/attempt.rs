//! An attempt to bring an object's children to what its spec says, and what is kept of it while its status waits
//! to be written. Pure.

use jiff::Timestamp;

use crate::{
    api::{StatusParts, condition::kind},
    cluster::apply::result::ApplyResult,
    controller::kinds::{Kind, Object},
    render::{
        Desired, FieldError,
        applied::{ChildOutcome, LiveChildren},
    },
    status::{StatusUpdate, conditions::find_condition},
};

/// What became of a spec: it is invalid, or it was applied to the children.
#[allow(clippy::large_enum_variant, reason = "one value, in the future of its reconcile")]
pub(super) enum SpecOutcome<K: Kind> {
    Invalid(Vec<FieldError>),
    Applied { valid: K::Valid, desired: Desired, result: ApplyResult, now: LiveChildren },
}

/// What an attempt came to: small, since many may wait for their status to be written.
pub(super) struct Attempt<S> {
    /// The status, and the Events of the change to it.
    pub update: StatusUpdate<S>,
    /// The faults of the spec.
    pub invalid: Option<Vec<FieldError>>,
    /// What was achieved.
    pub result: ApplyResult,
    /// A child that was in place already was changed, or created again.
    pub child_corrected: bool,
    /// When the objects are to be looked at again, although nothing changes.
    pub due_at: Option<Timestamp>,
}

impl<S> Attempt<S> {
    /// Keeps of an attempt what its result needs; `object` and `live`, its children, are as they were before it.
    pub fn new<K: Kind<Status = S>>(
        applied: SpecOutcome<K>,
        update: StatusUpdate<S>,
        object: &Object<K>,
        live: &LiveChildren,
    ) -> Self {
        let (invalid, result, due_at) = match applied {
            SpecOutcome::Invalid(errors) => (Some(errors), ApplyResult::default(), None),
            SpecOutcome::Applied { desired, result, .. } => (None, result, desired.due_at),
        };
        let due_at = due_at.into_iter().chain(update.recheck_at).min();
        let mut outcomes = result.applied.outcomes.iter();
        // What is not there any more was deleted, where all children of this generation have been in place.
        let was_in_place = |id| live.contains_key(id) || were_all_in_place::<K>(object);
        let child_corrected =
            outcomes.any(|(id, outcome)| *outcome == ChildOutcome::Changed && was_in_place(id));
        Self { update, invalid, result, child_corrected, due_at }
    }
}

/// Whether the status says so of the object's generation.
fn were_all_in_place<K: Kind>(object: &Object<K>) -> bool {
    let conditions = object.status.as_ref().map_or(&[][..], StatusParts::conditions);
    find_condition(conditions, kind::RECONCILED)
        .is_some_and(|c| c.status == "True" && c.observed_generation == object.metadata.generation)
}
