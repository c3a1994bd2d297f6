//! One series: which occurrences need a call, what follows from its result, and when the next one is due.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    cluster::events::{
        retry::MAX_ATTEMPTS,
        testing::{event, regarding},
    },
    telemetry::EventOutcome::*,
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap_or_default()
}

/// A series and its test clock.
struct Steps {
    series: Series,
    start: Instant,
    since: Option<Timestamp>,
}

impl Steps {
    fn new(since: Option<Timestamp>) -> Self {
        let start = Instant::now();
        Self {
            series: Series::new(
                &Regarding { since, ..regarding() },
                &event(),
                SeriesCounts::new(at(0), start),
            ),
            start,
            since,
        }
    }

    fn now(&self, seconds: i64) -> Instant {
        self.start + Duration::from_secs(seconds.unsigned_abs())
    }

    fn occur(&mut self, seconds: i64) -> PublishAction {
        let action = self.series.add(self.since, None, at(seconds), self.now(seconds));
        if action == PublishAction::Write {
            self.series.open(&Regarding { since: self.since, ..regarding() }, &event(), None);
        }
        action
    }

    fn write(&mut self, seconds: i64, result: EventWriteResult) -> NextStep {
        let write = self.series.begin().unwrap();
        self.series.end(&write, result, self.now(seconds))
    }

    fn due(&self) -> Option<u64> {
        self.series.due_at().map(|at| at.duration_since(self.start).as_secs())
    }
}

fn done(outcome: EventOutcome, count: u32) -> NextStep {
    NextStep::Done(vec![(outcome, count)])
}

fn own(count: i32, first: i64, last: i64) -> EventWriteResult {
    EventWriteResult::Found(FoundEvent::Own { count, first: Some(at(first)), last: Some(at(last)) })
}

#[test]
fn the_first_and_the_second_are_written_and_then_one_in_30_s() {
    let mut steps = Steps::new(None);
    assert_eq!(steps.occur(0), PublishAction::Write);
    assert_eq!(
        steps.write(0, EventWriteResult::Written),
        NextStep::Done(vec![(Created, 1), (Aggregated, 0)])
    );
    assert_eq!((steps.due(), steps.occur(1)), (None, PublishAction::Write));
    assert_eq!(steps.write(1, EventWriteResult::Written), done(Aggregated, 1));
    assert_eq!((steps.occur(2), steps.occur(30)), (PublishAction::Defer, PublishAction::Defer));
    assert_eq!(steps.due(), Some(31));
    assert_eq!(steps.series.begin().map(|write| write.count), Some(4), "all are counted");
}

#[test]
fn an_occurrence_during_a_call_is_written_after_it() {
    let mut steps = Steps::new(None);
    steps.occur(0);
    let write = steps.series.begin().unwrap();
    assert_eq!((steps.occur(0), steps.series.begin().is_none()), (PublishAction::Await, true));
    let after = steps.series.end(&write, EventWriteResult::Written, steps.now(1));
    assert_eq!(after, NextStep::Done(vec![(Created, 1), (Aggregated, 1)]));
    assert_eq!(steps.due(), Some(1), "the second is written at once");
}

#[test]
fn a_failed_call_is_tried_again_and_counted_once() {
    let mut steps = Steps::new(None);
    steps.occur(0);
    assert_eq!(steps.write(0, EventWriteResult::Failed(None)), NextStep::Done(Vec::new()));
    assert_eq!((steps.due(), steps.occur(0)), (Some(1), PublishAction::Await));
    assert_eq!(steps.write(1, EventWriteResult::Failed(None)), NextStep::Done(Vec::new()));
    assert_eq!(steps.due(), Some(3));
    assert_eq!(
        steps.write(3, EventWriteResult::Failed(Some(Duration::from_secs(9)))),
        NextStep::Done(Vec::new())
    );
    assert_eq!(steps.due(), Some(12), "Retry-After");
    let after = steps.write(12, EventWriteResult::Written);
    assert_eq!(after, NextStep::Done(vec![(Created, 1), (Aggregated, 1)]));
    assert_eq!(steps.series.counts.recorded, 2, "the retry counts what came meanwhile");
}

#[test]
fn retries_are_bounded_in_number_and_time() {
    for retry_after in [None, Some(Duration::from_secs(150))] {
        let mut steps = Steps::new(None);
        steps.occur(0);
        let (mut now, mut attempts) = (0, 0);
        let after = loop {
            attempts += 1;
            let after = steps.write(now, EventWriteResult::Failed(retry_after));
            match steps.due() {
                Some(due) => now = i64::try_from(due).unwrap_or(i64::MAX),
                None => break after,
            }
        };
        assert_eq!(after, NextStep::Forget(vec![(Failed, 1)]));
        assert!(now <= 600 && (5..=MAX_ATTEMPTS).contains(&attempts), "{attempts} attempts in {now} s");
    }
}

#[test]
fn an_event_that_is_there_is_counted_on() {
    for (what, since, found, expected, after) in [
        ("of another process", None, own(3, -90, -60), 4, NextStep::Again),
        ("published after the transition", Some(at(-61)), own(3, -90, -60), 3, done(Aggregated, 1)),
        ("published before the transition", Some(at(-59)), own(3, -90, -60), 4, NextStep::Again),
        ("of a call whose answer was lost", None, own(1, 0, 0), 1, done(Created, 1)),
    ] {
        let mut steps = Steps::new(since);
        steps.occur(0);
        assert_eq!(steps.write(0, found), after, "{what}");
        assert_eq!(steps.series.counts.count, expected, "{what}");
    }
}

#[test]
fn a_transition_that_is_republished_is_no_occurrence() {
    let mut steps = Steps::new(Some(at(-1)));
    steps.occur(0);
    steps.write(0, EventWriteResult::Written);
    assert_eq!((steps.occur(40), steps.series.counts.count, steps.due()), (PublishAction::Defer, 1, None));
    steps.since = Some(at(41));
    assert_eq!(
        (steps.occur(41), steps.series.counts.count),
        (PublishAction::Write, 2),
        "a later transition is one"
    );
}

#[test]
fn a_foreign_event_is_left_alone() {
    let mut steps = Steps::new(None);
    steps.occur(0);
    let foreign = EventWriteResult::Found(FoundEvent::Foreign);
    assert_eq!(steps.write(0, foreign), NextStep::Again);
    assert_eq!(steps.series.counts.names_taken, 1);
    steps.write(0, EventWriteResult::Written);
    steps.occur(1);
    assert_eq!(steps.series.begin().map(|write| write.names_taken), Some(1), "the series keeps its name");
    let mut besieged = Steps::new(None);
    besieged.occur(0);
    let answers: Vec<NextStep> = (0..MAX_NAME_ATTEMPTS).map(|_| besieged.write(0, foreign)).collect();
    assert_eq!(answers.last(), Some(&done(Failed, 1)));
}

#[test]
fn what_a_namespace_under_deletion_refuses_has_no_outcome() {
    let mut steps = Steps::new(None);
    steps.occur(0);
    assert_eq!(steps.write(0, EventWriteResult::NamespaceGone), NextStep::Forget(Vec::new()));
}

#[test]
fn an_expired_event_is_created_anew() {
    let mut steps = Steps::new(None);
    steps.occur(0);
    steps.write(0, EventWriteResult::Written);
    steps.occur(1);
    assert_eq!(steps.write(1, EventWriteResult::Expired), NextStep::Again);
    let write = steps.series.begin().unwrap();
    assert_eq!((write.pending.is_some(), write.count), (true, 2));
}

#[test]
fn a_cancelled_call_is_due_again() {
    let mut steps = Steps::new(None);
    steps.occur(0);
    assert!(steps.series.begin().is_some() && steps.due().is_none());
    steps.series.cancel(steps.now(0));
    assert_eq!(steps.due(), Some(1));
}
