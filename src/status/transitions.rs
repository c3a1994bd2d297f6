//! The transitions between two sets of conditions that both kinds share. Pure.

use crate::{
    api::{
        RolloutOutcome, RolloutStatus,
        condition::{Condition, kind, reason},
        event::{NewEvent, Related, action, event_type},
    },
    render::{ChildId, Desired, applied::Applied},
    status::{
        StatusInput,
        conditions::{find_condition, is_failing},
        rollout,
    },
};

/// Two sets of conditions, and the input of the second.
#[derive(Clone, Copy, Debug)]
pub struct Transitions<'a> {
    /// The stored conditions.
    pub before: &'a [Condition],
    /// The new conditions.
    pub after: &'a [Condition],
    /// The facts of this reconcile.
    pub input: &'a StatusInput,
}

impl<'a> Transitions<'a> {
    /// The stored condition, if it describes this generation and rebuild.
    #[must_use]
    pub fn previous(&self, kind: &str) -> Option<&'a Condition> {
        find_condition(self.before, kind)
            .filter(|c| !self.input.rollout_started && c.observed_generation == Some(self.input.generation))
    }

    /// The new condition.
    #[must_use]
    pub fn current(&self, kind: &str) -> Option<&'a Condition> {
        find_condition(self.after, kind)
    }

    /// `Reconciled`, if it is `True` for this generation: all children were applied.
    #[must_use]
    pub fn reconciled_condition(&self) -> Option<&'a Condition> {
        let news = self.previous(kind::RECONCILED).is_none_or(|c| c.status != "True");
        self.current(kind::RECONCILED).filter(|c| news && c.status == "True")
    }

    /// The Event for an invalid spec.
    #[must_use]
    pub fn invalid_event(&self) -> Option<NewEvent> {
        self.failure("invalid_spec", None)
    }

    /// The Event for a failed reconcile: a new failure, or the same one again after a back-off.
    #[must_use]
    pub fn failed_event(&self, applied: &Applied, desired: &Desired) -> Option<NewEvent> {
        let now = self.current(kind::RECONCILED)?;
        let failure = applied.failures().find(|(_, f)| f.reason == now.reason);
        self.failure(
            failure.map_or("internal", |(_, f)| f.class),
            failure.and_then(|(id, _)| related(id, desired)),
        )
    }

    fn failure(&self, class: &str, related: Option<Related>) -> Option<NewEvent> {
        let now =
            self.current(kind::RECONCILED).filter(|c| c.status == "False" && c.reason != reason::PRUNING)?;
        let news =
            self.previous(kind::RECONCILED).is_none_or(|c| c.status != now.status || c.reason != now.reason);
        let note = format!("{class}: {}", now.message);
        let event = || NewEvent {
            related,
            cause: format!("{}/{class}", now.reason),
            ..new_event(event_type::WARNING, reason::RECONCILE_FAILED, action::APPLY, note)
        };
        (news || self.input.is_retry).then(event)
    }

    /// The Event for a rollout that missed its deadline.
    #[must_use]
    pub fn timed_out_event(&self, rollout: Option<&RolloutStatus>) -> Option<NewEvent> {
        let rollout = rollout.filter(|r| r.outcome == Some(RolloutOutcome::TimedOut))?;
        let known = self.input.rollout.ended_at.as_ref();
        let is_known =
            known.is_some_and(|ended| self.input.republish_since.is_none_or(|since| ended.0 < since));
        let ready = self.current(kind::READY).filter(|ready| ready.status != "True" && !is_known)?;
        let seconds = rollout::duration(rollout)?.as_secs();
        let note = format!("not ready after {seconds} s: {}: {}", ready.reason, ready.message);
        Some(new_event(event_type::WARNING, reason::ROLLOUT_TIMED_OUT, action::OBSERVE, note))
    }

    /// The Event for an object that became ready, or already is when a new generation is first observed: the
    /// engine may be faster than the status.
    pub fn ready_event(&self, note: impl FnOnce() -> String) -> Option<NewEvent> {
        let was = self.previous(kind::READY).is_some_and(|c| c.status == "True");
        let is = self.current(kind::READY).is_some_and(|c| c.status == "True");
        (is && !was).then(|| new_event(event_type::NORMAL, reason::READY, action::OBSERVE, note()))
    }

    /// The Event for an object that starts to wait, becomes unready without an edit, or waits for something that
    /// failed. A failure is a Warning if the object was ready or the failure is final; others may resolve themselves.
    #[must_use]
    pub fn waiting_event(
        &self,
        applied: &Applied,
        related: Option<Related>,
        is_final: bool,
    ) -> Option<NewEvent> {
        let now = self.current(kind::READY).filter(|c| c.status != "True" && applied.is_complete())?;
        let then = self
            .previous(kind::READY)
            .filter(|_| self.previous(kind::RECONCILED).is_some_and(|c| c.status == "True"));
        let failing = is_failing(now);
        let type_ = match then {
            Some(then) if then.status == "True" => event_type::WARNING,
            Some(then) if !failing || then.reason == now.reason => return None,
            _ if failing && is_final => event_type::WARNING,
            _ => event_type::NORMAL,
        };
        Some(NewEvent { related, ..not_ready_event(type_, now) })
    }
}

/// The Event for an object that waits, or that waits for something that failed.
#[must_use]
pub fn not_ready_event(type_: &'static str, ready: &Condition) -> NewEvent {
    let (cause, state) =
        if is_failing(ready) { (&*ready.reason, &*ready.reason) } else { ("", "not ready yet") };
    let note = format!("{state}: {}", ready.message);
    NewEvent { cause: cause.to_owned(), ..new_event(type_, reason::PROGRESSING, action::OBSERVE, note) }
}

/// An Event without a related child.
#[must_use]
pub fn new_event(type_: &'static str, reason: &'static str, action: &'static str, note: String) -> NewEvent {
    NewEvent { type_, reason, action, note, ..NewEvent::default() }
}

/// A desired child as the related object of an Event.
#[must_use]
pub fn related(id: &ChildId, desired: &Desired) -> Option<Related> {
    let child = desired.children.iter().find(|c| c.id == *id)?;
    let api_version = child.body()["apiVersion"].as_str()?.to_owned();
    Some(Related { api_version, kind: id.kind.kind().to_owned(), name: id.name.clone() })
}
