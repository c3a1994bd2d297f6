//! All series of Events and how many calls each object's Events may still cause. Pure; the clock is handed in.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use crate::{
    api::event::NewEvent,
    cluster::{
        events::{
            object::{Regarding, event_name},
            series::Series,
            write::{EventWrite, EventWriteResult, NextStep, PublishAction},
        },
        table,
    },
    telemetry::{CallingReconcile, SpanIds},
};

/// Calls that one object's Events may cause at once, and how long it takes until one more is allowed. Retries
/// are not counted.
const SPAM_BURST: u32 = 25;
const SPAM_REFILL: Duration = Duration::from_secs(10);

/// A series that has been quiet for so long is forgotten here. The API server keeps it for an hour, and it is
/// continued from there.
const SERIES_TTL: Duration = Duration::from_mins(10);
const SWEEP_INTERVAL: Duration = Duration::from_mins(1);

/// So many calls may wait for their turn. Beyond it an occurrence is only counted, on the series' next call.
const MAX_QUEUED: usize = 16_384;

/// The occurrences of one type and reason that were lost.
pub type Lost = (&'static str, &'static str, u32);

/// Every series, and every object's budget.
#[derive(Debug, Default)]
pub struct RecorderState {
    series: HashMap<String, Series>,
    /// When each series that has something to write is due.
    due: BTreeSet<(Instant, String)>,
    /// How many series wait for their turn.
    queued: usize,
    budgets: HashMap<String, (f64, Instant)>,
    swept: Option<Instant>,
}

impl RecorderState {
    /// Counts an occurrence; the name of its series, and what it leads to.
    pub fn add(
        &mut self,
        regarding: &Regarding,
        event: &NewEvent,
        ids: Option<SpanIds>,
        caller: Option<CallingReconcile>,
        at: Timestamp,
        now: Instant,
    ) -> (String, PublishAction) {
        self.sweep(now);
        let name = event_name(regarding, event);
        let series =
            self.series.entry(name.clone()).or_insert_with(|| Series::new(regarding, event, at, now));
        let was_due = series.due_at();
        let mut action = series.add(regarding.since, ids.as_ref(), at, now);
        if action == PublishAction::Write {
            if self.queued < MAX_QUEUED && take_token(&mut self.budgets, &regarding.uid, now) {
                series.open(regarding, event, ids);
                self.queued += 1;
            } else {
                action = PublishAction::Drop;
            }
        }
        if action == PublishAction::Write || series.is_unwritten() {
            series.set_caller(caller);
        }
        self.reschedule(&name, was_due);
        (name, action)
    }

    /// Begins the call for a series, unless one is running or nothing is to be written.
    pub fn begin(&mut self, name: &str) -> Option<EventWrite> {
        let series = self.series.get_mut(name)?;
        let was_due = series.due_at();
        self.queued -= usize::from(series.is_queued());
        let write = series.begin();
        self.reschedule(name, was_due);
        write
    }

    /// Records what became of a call.
    pub fn end(
        &mut self,
        name: &str,
        write: &EventWrite,
        result: EventWriteResult,
        now: Instant,
    ) -> NextStep {
        let Some(series) = self.series.get_mut(name) else { return NextStep::Done(Vec::new()) };
        let was_due = series.due_at();
        let after = series.end(write, result, now);
        if matches!(after, NextStep::Forget(_)) {
            self.series.remove(name);
        }
        self.reschedule(name, was_due);
        after
    }

    /// A call that was cancelled.
    pub fn cancel(&mut self, name: &str, now: Instant) {
        let Some(series) = self.series.get_mut(name) else { return };
        let was_due = series.due_at();
        series.cancel(now);
        self.reschedule(name, was_due);
    }

    /// So many series, at most, that have something to write by now.
    #[must_use]
    pub fn due(&self, now: Instant, limit: usize) -> Vec<String> {
        let due = self.due.iter().take(limit);
        due.take_while(|(at, _)| *at <= now).map(|(_, name)| name.clone()).collect()
    }

    /// When the next one has, or when what has been quiet for long is forgotten.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let sweep = self.swept.filter(|_| !self.series.is_empty() || !self.budgets.is_empty());
        let due = self.due.first().map(|(at, _)| *at);
        due.into_iter().chain(sweep.map(|at| at + SWEEP_INTERVAL)).min()
    }

    /// Every series that has something to write, or is being written.
    #[must_use]
    pub fn unwritten(&self) -> Vec<String> {
        let unwritten = self.series.iter().filter(|(_, series)| series.is_unwritten());
        unwritten.map(|(name, _)| name.clone()).collect()
    }

    /// Gives up what is not written yet.
    pub fn give_up(&mut self) -> Vec<Lost> {
        let lost = self.series.values().filter_map(Series::lost).collect();
        self.clear();
        lost
    }

    /// Forgets every series: another replica has led meanwhile, and has counted on.
    pub fn clear(&mut self) {
        self.series.clear();
        self.due.clear();
        self.queued = 0;
    }

    /// Keeps `due` in step with a series that was due at this time before.
    fn reschedule(&mut self, name: &str, was_due: Option<Instant>) {
        let is_due = self.series.get(name).and_then(Series::due_at);
        if is_due != was_due {
            if let Some(at) = was_due {
                self.due.remove(&(at, name.to_owned()));
            }
            self.due.extend(is_due.map(|at| (at, name.to_owned())));
        }
    }

    /// Forgets what has been quiet for long.
    pub fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|at| at + SWEEP_INTERVAL > now) {
            return;
        }
        self.swept = Some(now);
        self.series.retain(|_, series| series.is_unwritten() || series.recorded_at() + SERIES_TTL > now);
        self.budgets.retain(|_, (_, since)| *since + SERIES_TTL > now);
        table::shrink(&mut self.series);
        table::shrink(&mut self.budgets);
    }
}

/// Takes one call from an object's budget, if there is one left.
fn take_token(budgets: &mut HashMap<String, (f64, Instant)>, uid: &str, now: Instant) -> bool {
    let (tokens, since) = budgets.entry(uid.to_owned()).or_insert((f64::from(SPAM_BURST), now));
    *tokens = (*tokens + now.duration_since(*since).as_secs_f64() / SPAM_REFILL.as_secs_f64())
        .min(f64::from(SPAM_BURST));
    *since = now;
    let allowed = *tokens >= 1.0;
    if allowed {
        *tokens -= 1.0;
    }
    allowed
}

#[cfg(test)]
#[path = "state_test.rs"]
mod tests;
