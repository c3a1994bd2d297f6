//! Which Events are published again after a change of leader.
#![allow(clippy::unwrap_used)]
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;
use crate::{api::RolloutOutcome, status::transitions::Transitions};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn condition(type_: &str, second: i64) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: "True".to_owned(),
        last_transition_time: Time(at(second)),
        message: String::new(),
        observed_generation: Some(1),
        reason: String::new(),
    }
}

/// The input at second 300, with this rollout.
fn input(
    started: i64,
    ended: i64,
    outcome: Option<RolloutOutcome>,
    republish_since: Option<i64>,
) -> StatusInput {
    let rollout = RolloutStatus {
        started_at: Some(MicroTime(at(started))),
        ended_at: Some(MicroTime(at(ended))),
        outcome,
        ..RolloutStatus::default()
    };
    StatusInput {
        generation: 1,
        now: at(300),
        is_retry: false,
        rollout_started: false,
        first_observation: false,
        rollout,
        rollout_timeout: SignedDuration::from_secs(600),
        contended: false,
        republish_since: republish_since.map(at),
    }
}

/// The rollout's start and end, and the baseline conditions, with `Ready` since 100 and `Reconciled` since 200.
#[test]
fn what_is_recent_is_published_again() {
    let cases: &[(&str, i64, i64, &[&str])] = &[
        ("all is old", 110, 120, &[kind::READY, kind::RECONCILED]),
        ("the rollout began just now", 250, 260, &[]),
        ("ready all along, and the rollout ended just now", 110, 250, &[kind::RECONCILED]),
    ];
    let stored = [condition(kind::READY, 100), condition(kind::RECONCILED, 200)];
    for (what, started, ended, expected) in cases {
        let input = input(*started, *ended, None, Some(240));
        let baseline = input.baseline(&stored);
        let kinds: Vec<&str> = baseline.iter().map(|condition| condition.type_.as_str()).collect();
        assert_eq!(&kinds, expected, "{what}");
    }
}

#[test]
fn a_timeout_is_published_again_only_where_it_is_recent() {
    let after = [Condition { status: "False".to_owned(), ..condition(kind::READY, 290) }];
    for (what, ended, republish_since, expected) in [
        ("known", 250, None, false),
        ("after a take-over, recent", 250, Some(240), true),
        ("after a take-over, long ago, though a condition changed just now", 110, Some(240), false),
    ] {
        let input = input(100, ended, Some(RolloutOutcome::TimedOut), republish_since);
        let transitions = Transitions { before: &[], after: &after, input: &input };
        assert_eq!(transitions.timed_out_event(Some(&input.rollout)).is_some(), expected, "{what}");
    }
}
