//! The rollout of one generation: when it starts, whose trace it joins, and when it ends. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use crate::api::{Engine, RolloutOutcome, RolloutStatus, SupersededRollout, TraceParent};

/// The state of an object's rollout before a reconcile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RolloutPhase {
    /// A new generation: its rollout starts now.
    New {
        /// The caller's trace context for this generation.
        parent: Option<String>,
    },
    /// The rollout of this generation continues.
    InProgress,
    /// The rollout of this generation has ended.
    Complete,
}

/// Whether two `traceparent`s belong to one trace.
#[must_use]
pub fn is_same_trace(one: &str, other: Option<&str>) -> bool {
    let (one, other) = (one.parse::<TraceParent>(), other.and_then(|text| text.parse::<TraceParent>().ok()));
    one.ok().zip(other).is_some_and(|(one, other)| one.is_same_trace(&other))
}

/// The phase of `generation`, given the rollout in the status and the object's current trace context.
pub fn phase(generation: i64, previous: Option<&RolloutStatus>, annotation: Option<&str>) -> RolloutPhase {
    match previous {
        Some(rollout) if rollout.generation == generation && rollout.ended_at.is_some() => {
            RolloutPhase::Complete
        }
        Some(rollout) if rollout.generation == generation => RolloutPhase::InProgress,
        // The annotation is left over from an older generation, so its caller did not request this one.
        Some(rollout) if annotation.is_some() && rollout.parent.as_deref() == annotation => {
            RolloutPhase::New { parent: None }
        }
        _ => RolloutPhase::New { parent: annotation.map(str::to_owned) },
    }
}

/// The record of a rollout that a new one supersedes; `None` if it had ended.
#[must_use]
pub fn supersede(previous: &RolloutStatus, engine: Option<Engine>) -> Option<SupersededRollout> {
    let running = previous.ended_at.is_none() && previous.started_at.is_some();
    running.then(|| SupersededRollout {
        generation: previous.generation,
        rebuild: previous.rebuild.clone(),
        engine,
        traceparent: previous.traceparent.clone(),
        parent: previous.parent.clone(),
        started_at: previous.started_at.clone(),
    })
}

/// The superseded rollout in its final state.
#[must_use]
pub fn superseded_rollout(rollout: &RolloutStatus) -> Option<(RolloutStatus, Option<Engine>)> {
    let old = rollout.superseded.as_ref()?;
    let ended = RolloutStatus {
        generation: old.generation,
        rebuild: old.rebuild.clone(),
        traceparent: old.traceparent.clone(),
        trace_id: old
            .traceparent
            .as_deref()
            .and_then(|text| text.parse::<TraceParent>().ok())
            .map(|parent| parent.trace_id_hex()),
        parent: old.parent.clone(),
        started_at: old.started_at.clone(),
        ended_at: rollout.started_at.clone(),
        outcome: Some(RolloutOutcome::Superseded),
        superseded: None,
    };
    Some((ended, old.engine))
}

/// The deadline of a rollout.
#[must_use]
pub fn deadline_at(rollout: &RolloutStatus, rollout_timeout: SignedDuration) -> Option<Timestamp> {
    let started = rollout.started_at.as_ref().filter(|_| rollout.ended_at.is_none())?;
    started.0.checked_add(rollout_timeout).ok()
}

/// The rollout as of `now`.
#[must_use]
pub fn advance(
    rollout: &RolloutStatus,
    ready: bool,
    now: Timestamp,
    rollout_timeout: SignedDuration,
) -> RolloutStatus {
    let Some(deadline_at) = deadline_at(rollout, rollout_timeout) else { return rollout.clone() };
    let started = rollout.started_at.as_ref().map_or(now, |at| at.0);
    let (ended, outcome) = match (ready, now >= deadline_at) {
        (true, _) => (now.max(started), RolloutOutcome::Ready),
        (false, true) => (deadline_at, RolloutOutcome::TimedOut),
        (false, false) => return rollout.clone(),
    };
    RolloutStatus { ended_at: Some(MicroTime(ended)), outcome: Some(outcome), ..rollout.clone() }
}

/// The duration of a rollout; `None` while it runs. Never negative, whatever the clocks did.
#[must_use]
pub fn duration(rollout: &RolloutStatus) -> Option<SignedDuration> {
    let took = rollout.ended_at.as_ref()?.0.duration_since(rollout.started_at.as_ref()?.0);
    Some(took.max(SignedDuration::ZERO))
}

/// A rollout that ended, with its engine if the status no longer has it.
#[derive(Clone, Debug, PartialEq)]
pub enum RolloutEnd {
    /// It became ready, its deadline passed, or its object was deleted.
    Complete(RolloutStatus),
    /// A newer rollout superseded it; with the engine at that time.
    Superseded(RolloutStatus, Option<Engine>),
}

impl RolloutEnd {
    /// The rollout in its final state.
    #[must_use]
    pub fn rollout(&self) -> &RolloutStatus {
        match self {
            Self::Complete(rollout) | Self::Superseded(rollout, _) => rollout,
        }
    }
}

/// The rollouts that ended between two stored statuses, the older one first. As the stored status is the log,
/// the writer and every watcher find the same ends.
#[must_use]
pub fn rollout_ends(old: Option<&RolloutStatus>, new: Option<&RolloutStatus>) -> Vec<RolloutEnd> {
    let Some(new) = new else { return Vec::new() };
    let same = old.filter(|old| (old.generation, &old.rebuild) == (new.generation, &new.rebuild));
    let superseded = same.is_none().then(|| superseded_rollout(new)).flatten();
    let complete = new.ended_at.is_some() && same.is_none_or(|old| old.ended_at.is_none());
    let superseded = superseded.map(|(rollout, engine)| RolloutEnd::Superseded(rollout, engine));
    superseded.into_iter().chain(complete.then(|| RolloutEnd::Complete(new.clone()))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const OWN: &str = "00-11111111111111111111111111111111-2222222222222222-01";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn open(generation: i64, traceparent: Option<&str>, parent: Option<&str>) -> RolloutStatus {
        RolloutStatus {
            generation,
            traceparent: traceparent.map(Into::into),
            parent: parent.map(Into::into),
            started_at: Some(MicroTime(at(100))),
            ..RolloutStatus::default()
        }
    }

    #[test]
    fn phases() {
        let begins = |parent: Option<&str>| RolloutPhase::New { parent: parent.map(Into::into) };
        let ended = RolloutStatus { ended_at: Some(MicroTime(at(101))), ..open(1, Some(OWN), None) };
        for (generation, previous, annotation, expected) in [
            (1, None, None, begins(None)),
            (1, None, Some(CALLER), begins(Some(CALLER))),
            (2, Some(&ended), None, begins(None)),
            (2, Some(&ended), Some(CALLER), begins(Some(CALLER))),
            (2, Some(&open(1, Some(CALLER), Some(CALLER))), Some(CALLER), begins(None)),
            (1, Some(&ended), Some(CALLER), RolloutPhase::Complete),
            (1, Some(&open(1, Some(OWN), None)), None, RolloutPhase::InProgress),
            (2, Some(&open(2, Some(OWN), Some(CALLER))), Some(CALLER), RolloutPhase::InProgress),
        ] {
            assert_eq!(
                phase(generation, previous, annotation),
                expected,
                "{generation} {previous:?} {annotation:?}"
            );
        }
    }

    #[test]
    fn what_was_superseded_ended_when_the_next_began() {
        let (first, second) = (open(1, Some(OWN), Some(CALLER)), open(2, None, None));
        let second = RolloutStatus {
            superseded: supersede(&first, Some(Engine::Keda)),
            started_at: Some(MicroTime(at(107))),
            ..second
        };
        let (ended, engine) = superseded_rollout(&second).unwrap();
        assert_eq!(
            (duration(&ended), ended.outcome),
            (Some(SignedDuration::from_secs(7)), Some(RolloutOutcome::Superseded))
        );
        assert_eq!(
            (ended.traceparent.as_deref(), ended.parent.as_deref(), engine),
            (Some(OWN), Some(CALLER), Some(Engine::Keda))
        );
        assert_eq!(supersede(&ended, None), None, "what has ended is not ended again");
    }

    #[test]
    fn a_rollout_ends_once() {
        let rollout_timeout = SignedDuration::from_secs(10);
        let rollout = open(1, None, None);
        assert_eq!(advance(&rollout, false, at(105), rollout_timeout), rollout);
        let ready = advance(&rollout, true, at(105), rollout_timeout);
        assert_eq!(
            (ready.outcome, duration(&ready)),
            (Some(RolloutOutcome::Ready), Some(SignedDuration::from_secs(5)))
        );
        let late = advance(&rollout, false, at(500), rollout_timeout);
        assert_eq!(
            (late.outcome, duration(&late)),
            (Some(RolloutOutcome::TimedOut), Some(rollout_timeout)),
            "it ends at the deadline, whenever that is seen"
        );
        assert_eq!(advance(&late, true, at(600), rollout_timeout), late);
        assert_eq!(deadline_at(&late, rollout_timeout), None);
    }

    #[test]
    fn ends_are_found_between_two_statuses() {
        let first = open(1, Some(OWN), None);
        let ready = advance(&first, true, at(105), SignedDuration::from_secs(10));
        let next = RolloutStatus {
            superseded: supersede(&first, None),
            started_at: Some(MicroTime(at(107))),
            ..open(2, None, None)
        };
        let after_ready = RolloutStatus { superseded: supersede(&ready, None), ..next.clone() };
        let ends = |old: Option<&RolloutStatus>, new: &RolloutStatus| -> Vec<(i64, RolloutOutcome)> {
            rollout_ends(old, Some(new))
                .iter()
                .map(|end| (end.rollout().generation, end.rollout().outcome.unwrap()))
                .collect()
        };
        assert_eq!(ends(None, &first), []);
        assert_eq!(ends(Some(&first), &ready), [(1, RolloutOutcome::Ready)]);
        assert_eq!(ends(Some(&ready), &ready), [], "each end once");
        assert_eq!(ends(Some(&first), &next), [(1, RolloutOutcome::Superseded)]);
        assert_eq!(ends(Some(&ready), &after_ready), []);
        let next_ready = advance(&next, true, at(109), SignedDuration::from_secs(10));
        assert_eq!(
            ends(Some(&first), &next_ready),
            [(1, RolloutOutcome::Superseded), (2, RolloutOutcome::Ready)],
            "two transitions that a watch swallowed into one"
        );
        assert_eq!(ends(None, &next_ready).len(), 2, "after a start, the window decides");
        assert_eq!(rollout_ends(Some(&first), None), []);
    }

    #[test]
    fn a_clock_that_steps_back_gives_no_negative_time() {
        let rollout = open(1, None, None);
        let ready = advance(&rollout, true, at(50), SignedDuration::from_secs(10));
        assert_eq!(duration(&ready), Some(SignedDuration::ZERO));
    }
}
