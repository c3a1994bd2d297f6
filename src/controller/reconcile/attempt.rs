//! One attempt to apply an object's spec, and what remains of it while its status waits to be written. Pure.

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

/// The outcome of a spec: invalid, or applied.
#[allow(clippy::large_enum_variant, reason = "one value, in the future of its reconcile")]
pub(super) enum SpecOutcome<K: Kind> {
    Invalid(Vec<FieldError>),
    Applied { valid: K::Valid, desired: Desired, result: ApplyResult, now: LiveChildren },
}

/// The outcome of an attempt: small, because many may wait for their status write.
pub(super) struct Attempt<S> {
    /// The status, and the Events for its changes.
    pub update: StatusUpdate<S>,
    /// The errors in the spec.
    pub invalid: Option<Vec<FieldError>>,
    /// The result of applying the children.
    pub result: ApplyResult,
    /// A child that was already in place was changed or recreated.
    pub child_corrected: bool,
    /// When to reconcile again even without any change.
    pub due_at: Option<Timestamp>,
}

impl<S> Attempt<S> {
    /// Keeps what the result needs; `object` and its children `live` are as they were before the attempt.
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
        // If all children of this generation were in place, a missing one was deleted.
        let was_in_place = |id| live.contains_key(id) || were_all_in_place::<K>(object);
        let child_corrected =
            outcomes.any(|(id, outcome)| *outcome == ChildOutcome::Changed && was_in_place(id));
        Self { update, invalid, result, child_corrected, due_at }
    }
}

/// Whether the status reports all children in place for the object's generation.
fn were_all_in_place<K: Kind>(object: &Object<K>) -> bool {
    let conditions = object.status.as_ref().map_or(&[][..], StatusParts::conditions);
    find_condition(conditions, kind::RECONCILED)
        .is_some_and(|c| c.status == "True" && c.observed_generation == object.metadata.generation)
}
