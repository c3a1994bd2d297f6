//! All series together: budgets, memory and due times.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    cluster::events::{
        object::FoundEvent,
        series::SERIES_UPDATE_INTERVAL,
        testing::{event, regarding_uid},
    },
    telemetry::EventOutcome,
};

fn add(state: &mut RecorderState, uid: &str, now: Instant) -> (String, PublishAction) {
    add_typed(state, uid, event_type::NORMAL, now)
}

fn add_typed(
    state: &mut RecorderState,
    uid: &str,
    type_: &'static str,
    now: Instant,
) -> (String, PublishAction) {
    let event = NewEvent { type_, ..event() };
    state.add(&regarding_uid(uid), &event, None, None, Timestamp::UNIX_EPOCH, now)
}

fn write(state: &mut RecorderState, name: &str, result: EventWriteResult, now: Instant) -> NextStep {
    let write = state.begin(name).unwrap();
    state.end(name, &write, result, now)
}

#[test]
fn a_budget_is_spent_and_fills_again() {
    let start = Instant::now();
    let mut budget = Budget::new(start);
    let mut take_all = |type_, at| (0..100).filter(|_| budget.take(type_, at)).count();
    assert_eq!(take_all(event_type::NORMAL, start), SPAM_BURST as usize);
    assert_eq!(
        take_all(event_type::WARNING, start),
        KEPT_FOR_WARNINGS as usize,
        "some are kept for Warnings"
    );
    assert_eq!(take_all(event_type::WARNING, start + SPAM_REFILL / 2), 0);
    assert_eq!(take_all(event_type::WARNING, start + SPAM_REFILL * 2), 2);
    assert_eq!(take_all(event_type::NORMAL, start + SPAM_REFILL * 4), 0);
    assert!(budget.refilled(start + SPAM_REFILL * 100) >= f64::from(FULL_BUDGET), "it is full again");
}

#[test]
fn one_objects_budget_is_not_anothers() {
    let (mut state, now) = (RecorderState::default(), Instant::now());
    let mut publish = |uid: &str| {
        let (name, action) = add(&mut state, uid, now);
        if action == PublishAction::Write {
            write(&mut state, &name, EventWriteResult::NamespaceGone, now);
        }
        action
    };
    let actions: Vec<_> = (0..=SPAM_BURST).map(|_| publish("u")).collect();
    assert_eq!(actions.last(), Some(&PublishAction::Drop), "{actions:?}");
    assert_eq!(publish("other"), PublishAction::Write);
}

#[test]
fn where_the_event_exists_a_spent_budget_defers_its_update() {
    for (what, recorded, later) in
        [("the second occurrence", 1, Duration::ZERO), ("the first after a pause", 2, SERIES_TTL / 2)]
    {
        let (mut state, now) = (RecorderState::default(), Instant::now());
        let mut name = String::new();
        for _ in 0..recorded {
            name = add(&mut state, "u", now).0;
            write(&mut state, &name, EventWriteResult::Written, now);
        }
        let now = now + later;
        for budget in state.budgets.values_mut() {
            *budget = Budget { tokens: 0.0, since: now };
        }
        assert_eq!(add(&mut state, "u", now).1, PublishAction::Defer, "{what}");
        assert_eq!(add(&mut state, "u", now + SPAM_REFILL / 2).1, PublishAction::Defer, "{what}");
        assert!(state.take_due(now + SPAM_REFILL).is_empty(), "{what}: no call beyond the budget");
        let due = state.take_due(now + SERIES_UPDATE_INTERVAL);
        assert_eq!(due.len(), 1, "{what}: nothing is lost");
        assert_eq!(state.begin(&name).map(|write| write.count), Some(recorded + 2), "{what}");
    }
}

#[test]
fn retries_are_not_charged() {
    let (mut state, now) = (RecorderState::default(), Instant::now());
    let (name, _) = add(&mut state, "u", now);
    for _ in 0..5 {
        write(&mut state, &name, EventWriteResult::Failed(None), now);
    }
    let left: Vec<f64> = state.budgets.values().map(|budget| budget.refilled(now)).collect();
    assert!((left[0] - f64::from(FULL_BUDGET - 1)).abs() < 0.01, "{left:?}");
}

#[test]
fn what_is_not_written_is_not_forgotten() {
    let (mut state, now) = (RecorderState::default(), Instant::now());
    let (written, _) = add(&mut state, "written", now);
    write(&mut state, &written, EventWriteResult::Written, now);
    let (failed, _) = add(&mut state, "failed", now);
    write(&mut state, &failed, EventWriteResult::Failed(None), now);
    assert_eq!(
        (state.series.len(), state.written.len()),
        (1, 1),
        "of what is written only the counts are kept"
    );
    state.sweep(now + SERIES_TTL * 2);
    assert_eq!((state.series.keys().collect::<Vec<_>>(), state.written.len()), (vec![&failed], 0));
    let failed = ObjectKey { namespace: "ns".into(), name: failed };
    assert_eq!(state.unwritten(), std::slice::from_ref(&failed));
    assert!(state.take_due(now).is_empty(), "not before its time");
    assert_eq!(state.next_due().map(|at| state.take_due(at)), Some(vec![failed.clone()]));
    assert_ne!(state.next_due(), Some(now), "once");
    assert_eq!(state.drop_all(), [("Normal", "Ready", 1)]);
}

#[test]
fn an_occurrence_that_is_dropped_takes_no_other_with_it() {
    let (mut state, now) = (RecorderState::default(), Instant::now());
    let (name, _) = add(&mut state, "u", now);
    let foreign = EventWriteResult::Found(FoundEvent::Foreign);
    assert_eq!(write(&mut state, &name, foreign, now), NextStep::Again, "under another name");
    state.queued = MAX_QUEUED;
    assert_eq!(add(&mut state, "u", now).1, PublishAction::Drop);
    state.queued = 0;
    assert_eq!(state.begin(&name).map(|write| write.count), Some(2), "the first one is still to be written");
}

#[test]
fn what_is_given_up_leaves_no_memory() {
    let (mut state, now) = (RecorderState::default(), Instant::now());
    let (name, _) = add(&mut state, "u", now);
    assert_eq!(write(&mut state, &name, EventWriteResult::NamespaceGone, now), NextStep::Forget(Vec::new()));
    assert!(state.series.is_empty() && state.written.is_empty());
}

#[test]
fn a_burst_gives_its_memory_back_at_its_end() {
    for (result, what) in [
        (EventWriteResult::Written, "what is written"),
        (EventWriteResult::NamespaceGone, "what is given up"),
    ] {
        let (mut state, now) = (RecorderState::default(), Instant::now());
        let names: Vec<_> = (0..10_000).map(|n| add(&mut state, &n.to_string(), now).0).collect();
        for name in names {
            write(&mut state, &name, result, now);
        }
        let kept = state.series.capacity();
        assert!(kept < 1_000, "{what} leaves room for {kept} series");
    }
}

#[test]
fn after_a_change_of_the_leader_the_server_is_right() {
    let (mut state, now) = (RecorderState::default(), Instant::now());
    let (name, _) = add(&mut state, "u", now);
    let running = state.begin(&name).unwrap();
    assert_eq!(state.drop_all(), [("Normal", "Ready", 1)]);
    assert_eq!(state.end(&name, &running, EventWriteResult::Written, now), NextStep::Done(Vec::new()));
    add(&mut state, "u", now);
    let at = Some(Timestamp::MIN);
    let found = EventWriteResult::Found(FoundEvent::Own { count: 9, first: at, last: at });
    assert_eq!(write(&mut state, &name, found, now), NextStep::Again);
    assert_eq!(
        write(&mut state, &name, EventWriteResult::Written, now),
        NextStep::Done(vec![(EventOutcome::Aggregated, 1)])
    );
}

#[test]
fn what_waits_is_bounded_and_still_counted() {
    let (mut state, now) = (RecorderState::default(), Instant::now());
    let names: Vec<_> = (0..MAX_QUEUED).map(|n| add(&mut state, &n.to_string(), now)).collect();
    assert!(names.iter().all(|(_, action)| *action == PublishAction::Write));
    let (late, action) = add(&mut state, "late", now);
    assert_eq!(action, PublishAction::Drop);
    assert!(state.begin(&late).is_none(), "nothing was kept of it but its count");
    let (warning, action) = add_typed(&mut state, "failing", event_type::WARNING, now);
    assert_eq!(action, PublishAction::Write, "a Warning has room of its own");
    assert!(state.begin(&warning).is_some());
    assert_eq!(add(&mut state, "0", now).1, PublishAction::Await, "its call counts this one too");
    assert_eq!(state.begin(&names[0].0).map(|write| write.count), Some(2));
    assert_eq!(add(&mut state, "late", now).1, PublishAction::Write, "there is room again");
    assert_eq!(state.begin(&late).map(|write| write.count), Some(2), "none is forgotten");
    assert_eq!(state.unwritten().len(), MAX_QUEUED + 2);
    state.drop_all();
    assert_eq!(state.queued, 0);
}

#[test]
fn what_is_quiet_is_forgotten_without_another_event() {
    let (mut state, now) = (RecorderState::default(), Instant::now());
    let (name, _) = add(&mut state, "u", now);
    write(&mut state, &name, EventWriteResult::Written, now);
    let mut at = now;
    while let Some(due) = state.next_due() {
        assert!(due > at && due <= now + SERIES_TTL * 2, "it wakes up once a minute");
        at = due;
        state.sweep(at);
    }
    assert!(state.written.is_empty() && state.budgets.is_empty());
}
