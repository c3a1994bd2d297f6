//! The rollout of one generation: when it begins, whose trace it joins, and when it has ended. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use crate::api::{Engine, RolloutOutcome, RolloutStatus, SupersededRollout, TraceParent};

/// Where an object stands before a reconcile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RolloutPhase {
    /// A new generation: its rollout begins now.
    New {
        /// The trace context of a caller whose doing it is.
        parent: Option<String>,
        /// The trace context of a caller who was there before: worth a link, no more.
        link: Option<String>,
    },
    /// The rollout of this generation goes on.
    InProgress {
        /// The caller whose trace it joined.
        parent: Option<String>,
    },
    /// The rollout of this generation has ended.
    Complete,
}

/// Whether two `traceparent`s are of one trace.
fn is_same_trace(one: &str, other: Option<&str>) -> bool {
    let (one, other) = (one.parse::<TraceParent>(), other.and_then(|text| text.parse::<TraceParent>().ok()));
    one.ok().zip(other).is_some_and(|(one, other)| one.is_same_trace(&other))
}

/// Where `generation` stands, given what the status holds and the trace context that the object carries now.
pub fn phase(generation: i64, previous: Option<&RolloutStatus>, annotation: Option<&str>) -> RolloutPhase {
    match previous {
        Some(rollout) if rollout.generation == generation && rollout.ended_at.is_some() => {
            RolloutPhase::Complete
        }
        Some(rollout) if rollout.generation == generation => {
            let own = rollout.traceparent.as_deref();
            RolloutPhase::InProgress {
                parent: rollout.parent.clone().filter(|parent| is_same_trace(parent, own)),
            }
        }
        // The same value as for an older generation is not that caller's doing.
        Some(rollout) if annotation.is_some() && rollout.parent.as_deref() == annotation => {
            RolloutPhase::New { parent: None, link: annotation.map(str::to_owned) }
        }
        _ => RolloutPhase::New { parent: annotation.map(str::to_owned), link: None },
    }
}

/// What is kept of a rollout that a new one takes the place of; `None` when it had ended by itself.
#[must_use]
pub fn supersede(previous: &RolloutStatus, engine: Option<&str>) -> Option<SupersededRollout> {
    let running = previous.ended_at.is_none() && previous.started_at.is_some();
    running.then(|| SupersededRollout {
        generation: previous.generation,
        rebuild: previous.rebuild.clone(),
        engine: engine.and_then(Engine::parse),
        traceparent: previous.traceparent.clone(),
        parent: previous.parent.clone(),
        started_at: previous.started_at.clone(),
    })
}

/// The rollout that this one took the place of, as it ended.
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

/// The moment at which a rollout is too late.
#[must_use]
pub fn deadline(rollout: &RolloutStatus, allowed: SignedDuration) -> Option<Timestamp> {
    let started = rollout.started_at.as_ref().filter(|_| rollout.ended_at.is_none())?;
    started.0.checked_add(allowed).ok()
}

/// The rollout after a look at `now`.
#[must_use]
pub fn advance(
    rollout: &RolloutStatus,
    ready: bool,
    now: Timestamp,
    allowed: SignedDuration,
) -> RolloutStatus {
    let Some(late) = deadline(rollout, allowed) else { return rollout.clone() };
    let (ended, outcome) = match (ready, now >= late) {
        (true, _) => (now, RolloutOutcome::Ready),
        (false, true) => (late, RolloutOutcome::TimedOut),
        (false, false) => return rollout.clone(),
    };
    RolloutStatus { ended_at: Some(MicroTime(ended)), outcome: Some(outcome), ..rollout.clone() }
}

/// How long a rollout took; `None` while it runs.
#[must_use]
pub fn duration(rollout: &RolloutStatus) -> Option<SignedDuration> {
    Some(rollout.ended_at.as_ref()?.0.duration_since(rollout.started_at.as_ref()?.0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const OURS: &str = "00-11111111111111111111111111111111-2222222222222222-01";

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
        let begins = |parent: Option<&str>, link: Option<&str>| RolloutPhase::New {
            parent: parent.map(Into::into),
            link: link.map(Into::into),
        };
        let ended = RolloutStatus { ended_at: Some(MicroTime(at(101))), ..open(1, Some(OURS), None) };
        for (generation, previous, annotation, expected) in [
            (1, None, None, begins(None, None)),
            (1, None, Some(CALLER), begins(Some(CALLER), None)),
            (2, Some(&ended), None, begins(None, None)),
            (2, Some(&ended), Some(CALLER), begins(Some(CALLER), None)),
            (2, Some(&open(1, Some(CALLER), Some(CALLER))), Some(CALLER), begins(None, Some(CALLER))),
            (1, Some(&ended), Some(CALLER), RolloutPhase::Complete),
            (1, Some(&open(1, Some(OURS), None)), None, RolloutPhase::InProgress { parent: None }),
            (
                1,
                Some(&open(1, Some(CALLER), Some(CALLER))),
                None,
                RolloutPhase::InProgress { parent: Some(CALLER.into()) },
            ),
            // Kept so that a third generation knows it, yet not the parent of this one.
            (
                2,
                Some(&open(2, Some(OURS), Some(CALLER))),
                Some(CALLER),
                RolloutPhase::InProgress { parent: None },
            ),
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
        let (first, second) = (open(1, Some(OURS), Some(CALLER)), open(2, None, None));
        let second = RolloutStatus {
            superseded: supersede(&first, Some("keda")),
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
            (Some(OURS), Some(CALLER), Some(Engine::Keda))
        );
        assert_eq!(supersede(&ended, None), None, "what has ended is not ended again");
    }

    #[test]
    fn a_rollout_ends_once() {
        let allowed = SignedDuration::from_secs(10);
        let rollout = open(1, None, None);
        assert_eq!(advance(&rollout, false, at(105), allowed), rollout);
        let ready = advance(&rollout, true, at(105), allowed);
        assert_eq!(
            (ready.outcome, duration(&ready)),
            (Some(RolloutOutcome::Ready), Some(SignedDuration::from_secs(5)))
        );
        let late = advance(&rollout, false, at(500), allowed);
        assert_eq!(
            (late.outcome, duration(&late)),
            (Some(RolloutOutcome::TimedOut), Some(allowed)),
            "it ends at the deadline, whenever that is seen"
        );
        assert_eq!(advance(&late, true, at(600), allowed), late);
        assert_eq!(deadline(&late, allowed), None);
    }
}
