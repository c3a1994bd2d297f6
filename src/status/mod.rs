//! Pure: computes a status, and the Events for its transitions, from the spec, the apply result and the
//! children. No client, no clock, no tracing: `now` is an argument.
//!
//! `controller/reconcile/status_write.rs` writes it.

pub mod build;
pub mod common_conditions;
pub mod conditions;
pub mod function;
pub mod lifecycle;
pub mod readiness;
pub mod rollout;
pub mod service;
pub mod transitions;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use crate::{
    api::{
        RolloutStatus,
        condition::{Condition, kind},
        event::NewEvent,
    },
    render::{
        Desired, FieldError,
        applied::{Applied, LiveChildren},
    },
    status::conditions::{NewCondition, is_true, set_conditions},
};

/// The facts about a reconcile that the status depends on, besides the object and its children.
#[allow(clippy::struct_excessive_bools, reason = "facts that do not depend on each other")]
#[derive(Clone, Debug)]
pub struct StatusInput {
    /// The object's generation.
    pub generation: i64,
    /// The time of the reconcile, to the microsecond.
    pub now: Timestamp,
    /// This attempt follows a back-off.
    pub is_retry: bool,
    /// This reconcile started the rollout of this generation.
    pub rollout_started: bool,
    /// The stored status does not describe this generation and rebuild yet.
    pub first_observation: bool,
    /// The rollout of this generation.
    pub rollout: RolloutStatus,
    /// How long a rollout may take.
    pub rollout_timeout: SignedDuration,
    /// Another manager keeps changing fields that Elpio applies.
    pub contended: bool,
    /// After a start or a change of leader: publish the Events of transitions since this time again.
    pub republish_since: Option<Timestamp>,
}

impl StatusInput {
    /// How long ago the edit was first observed, as the end of a note; empty once the rollout has ended.
    #[must_use]
    pub fn since_edit(&self) -> String {
        let open = self.rollout.started_at.as_ref().filter(|_| self.rollout.ended_at.is_none());
        let took = open.map(|at| self.now.duration_since(at.0).max(SignedDuration::ZERO));
        took.map(|took| format!(", {:.1} s after the edit was observed", took.as_secs_f64()))
            .unwrap_or_default()
    }

    /// The message of `Reconciled` when it is `True`, with a remark if another manager keeps changing the objects.
    #[must_use]
    pub fn reconciled_message(&self, done: String) -> String {
        if self.contended {
            format!("{done}; another field manager keeps changing these objects, so corrections are delayed")
        } else {
            done
        }
    }

    /// The conditions against which transitions are computed: the stored ones, without those whose Events are
    /// published again.
    #[must_use]
    pub fn baseline(&self, stored: &[Condition]) -> Vec<Condition> {
        let Some(since) = self.republish_since else { return stored.to_vec() };
        let is_recent = |at: &Option<MicroTime>| at.as_ref().is_some_and(|at| at.0 >= since);
        if is_recent(&self.rollout.started_at) {
            return Vec::new();
        }
        // An object that stayed ready has an Event for its rollout's end, but no transition.
        let is_old = |condition: &&Condition| {
            condition.last_transition_time.0 < since
                && !(condition.type_ == kind::READY && is_recent(&self.rollout.ended_at))
        };
        stored.iter().filter(is_old).cloned().collect()
    }
}

/// The fields that every kind's status has.
#[derive(Debug)]
struct CommonStatus {
    conditions: Vec<Condition>,
    ready: bool,
    rollout: RolloutStatus,
}

impl CommonStatus {
    /// Computes the conditions with their times, whether the object is ready, and its rollout.
    fn new(before: &[Condition], conditions: Vec<NewCondition>, input: &StatusInput) -> Self {
        let conditions = common_conditions::with_kstatus_condition(conditions);
        let conditions = set_conditions(before, conditions, input.generation, input.now);
        let ready = is_true(&conditions, kind::READY);
        let rollout = rollout::advance(&input.rollout, ready, input.now, input.rollout_timeout);
        Self { conditions, ready, rollout }
    }
}

/// A new status, and the Events for its transitions.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusUpdate<T> {
    /// The complete new status.
    pub status: T,
    /// The Events, in the order of the transitions.
    pub events: Vec<NewEvent>,
    /// When the status may change without a change of any child.
    pub recheck_at: Option<Timestamp>,
}

/// The result of a reconcile so far.
#[derive(Debug)]
pub enum Observation<'a, V> {
    /// The spec is invalid; nothing was applied.
    Invalid(&'a [FieldError]),
    /// The children were applied, as far as possible.
    Applied {
        /// The valid spec.
        valid: &'a V,
        /// The desired children.
        desired: &'a Desired,
        /// The result of the apply step.
        applied: &'a Applied,
        /// The live children.
        live: &'a LiveChildren,
    },
}

// Implemented by hand, because a derive would require the same of `V`.
impl<V> Clone for Observation<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<V> Copy for Observation<'_, V> {}

#[cfg(test)]
#[path = "baseline_test.rs"]
mod tests;
