//! All series of Events, and how many calls each object's Events may still make. Pure; takes the time as an argument.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{BuildHasher as _, RandomState},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use crate::{
    api::event::{NewEvent, event_type},
    cluster::{
        ObjectKey,
        events::{
            counts::SeriesCounts,
            object::{Regarding, event_name},
            series::{Series, UnwrittenOccurrences},
            write::{EventWrite, EventWriteResult, NextStep, PublishAction},
        },
        table,
    },
    telemetry::{CallingReconcile, SpanIds},
};

/// The token bucket for the calls of one object's Events: its burst, and the time to refill one token.
/// Retries are free.
const SPAM_BURST: u32 = 25;
const SPAM_REFILL: Duration = Duration::from_secs(10);

/// Extra tokens that only Warnings may use.
const KEPT_FOR_WARNINGS: u32 = 5;
const FULL_BUDGET: u32 = SPAM_BURST + KEPT_FOR_WARNINGS;

/// A series that has been quiet for this long is dropped here. The API server keeps the Event for an hour,
/// and the series continues from there.
const SERIES_TTL: Duration = Duration::from_mins(10);
const SWEEP_INTERVAL: Duration = Duration::from_mins(1);

/// How many calls may be queued. Beyond that, occurrences are only counted and written with the series' next call.
const MAX_QUEUED: usize = 16_384;

/// Extra places in the queue that only Warnings may use.
const QUEUE_KEPT_FOR_WARNINGS: usize = 1024;

/// Every series and every object's budget.
#[derive(Debug, Default)]
pub struct RecorderState {
    /// Series with unwritten occurrences.
    series: HashMap<String, Series>,
    /// All other series, by the hash of their name. An object may have several, so there are many: a `BTreeMap`
    /// takes less memory here than a `HashMap`.
    written: BTreeMap<u64, SeriesCounts>,
    hasher: RandomState,
    /// When each series with unwritten occurrences is due, except those that [`RecorderState::take_due`] returned.
    due: BTreeSet<(Instant, String)>,
    /// How many series are queued.
    queued: usize,
    /// By the hash of an object's uid.
    budgets: HashMap<u64, Budget>,
    swept: Option<Instant>,
}

impl RecorderState {
    /// Counts an occurrence. Returns the name of its series and the action to take.
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
        let series = self.series.entry(name.clone()).or_insert_with(|| {
            let counts = self.written.remove(&self.hasher.hash_one(&name));
            Series::new(regarding, event, counts.unwrap_or_else(|| SeriesCounts::new(at, now)))
        });
        let was_due = series.due_at();
        let mut action = series.add(regarding.since, ids.as_ref(), at, now);
        if action == PublishAction::Write {
            let uid = self.hasher.hash_one(&regarding.object.uid);
            let budget = self.budgets.entry(uid).or_insert_with(|| Budget::new(now));
            if self.queued < queue_limit(event.type_) && budget.take(event.type_, now) {
                series.open(regarding, event, ids);
                self.queued += 1;
            } else {
                action = series.defer(now);
            }
        }
        if action == PublishAction::Write || series.is_unwritten() {
            series.set_caller(caller);
        }
        self.keep_counts_if_written(&name);
        self.reschedule(&name, was_due);
        (name, action)
    }

    /// Begins the call for a series, unless one is running or nothing needs writing.
    pub fn begin(&mut self, name: &str) -> Option<EventWrite> {
        let series = self.series.get_mut(name)?;
        let was_due = series.due_at();
        self.queued -= usize::from(series.is_queued());
        let write = series.begin();
        self.keep_counts_if_written(name);
        self.reschedule(name, was_due);
        write
    }

    /// Records the result of a call.
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
        match after {
            NextStep::Forget(_) => drop(self.remove(name)),
            NextStep::Done(_) => self.keep_counts_if_written(name),
            NextStep::Again => {}
        }
        self.reschedule(name, was_due);
        after
    }

    /// Records that a call was cancelled.
    pub fn cancel(&mut self, name: &str, now: Instant) {
        let Some(series) = self.series.get_mut(name) else { return };
        let was_due = series.due_at();
        series.cancel(now);
        self.reschedule(name, was_due);
    }

    /// The series that are due. Returns each once; from then on it waits in the queue.
    pub fn take_due(&mut self, now: Instant) -> Vec<ObjectKey> {
        let is_due = |(at, _): &&(Instant, String)| *at <= now;
        let due = std::iter::from_fn(|| {
            self.due.first().filter(is_due)?;
            self.due.pop_first()
        });
        due.filter_map(|(_, name)| Some(self.series.get(&name)?.key(name))).collect()
    }

    /// When the next series is due, or the counts of a written one may be dropped.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let sweep = self.swept.filter(|_| !self.written.is_empty() || !self.budgets.is_empty());
        let due = self.due.first().map(|(at, _)| *at);
        due.into_iter().chain(sweep.map(|at| at + SWEEP_INTERVAL)).min()
    }

    /// Every series with unwritten occurrences or a running call.
    #[must_use]
    pub fn unwritten(&self) -> Vec<ObjectKey> {
        self.series.iter().map(|(name, series)| series.key(name.clone())).collect()
    }

    /// Drops every series. Returns the unwritten occurrences.
    pub fn drop_all(&mut self) -> Vec<UnwrittenOccurrences> {
        let unwritten =
            std::mem::take(&mut self.series).values().filter_map(Series::unwritten_occurrences).collect();
        self.written.clear();
        self.due.clear();
        self.queued = 0;
        unwritten
    }

    /// Updates `due` for a series that was due at `was_due` before.
    fn reschedule(&mut self, name: &str, was_due: Option<Instant>) {
        let is_due = self.series.get(name).and_then(Series::due_at);
        if is_due != was_due {
            if let Some(at) = was_due {
                self.due.remove(&(at, name.to_owned()));
            }
            self.due.extend(is_due.map(|at| (at, name.to_owned())));
        }
    }

    /// Reduces a series without unwritten occurrences to its counts.
    fn keep_counts_if_written(&mut self, name: &str) {
        if self.series.get(name).is_some_and(|series| !series.is_unwritten())
            && let Some(series) = self.remove(name)
        {
            self.written.insert(self.hasher.hash_one(name), series.counts());
        }
    }

    /// Removes a series, and gives back the memory that a burst needed.
    fn remove(&mut self, name: &str) -> Option<Series> {
        let removed = self.series.remove(name);
        table::shrink(&mut self.series);
        removed
    }

    /// Drops the counts of written series, and budgets, after a long time without an Event.
    pub fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|at| at + SWEEP_INTERVAL > now) {
            return;
        }
        self.swept = Some(now);
        self.written.retain(|_, counts| counts.recorded_at + SERIES_TTL > now);
        // A full budget is equivalent to no entry.
        self.budgets.retain(|_, budget| budget.refilled(now) < f64::from(FULL_BUDGET));
        table::shrink(&mut self.budgets);
    }
}

/// How many calls an object's Events may make.
#[derive(Clone, Copy, Debug)]
struct Budget {
    tokens: f64,
    since: Instant,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self { tokens: f64::from(FULL_BUDGET), since: now }
    }

    fn refilled(&self, now: Instant) -> f64 {
        let refill = now.duration_since(self.since).as_secs_f64() / SPAM_REFILL.as_secs_f64();
        (self.tokens + refill).min(f64::from(FULL_BUDGET))
    }

    /// Takes one token for an Event of this type, if one is left.
    fn take(&mut self, type_: &str, now: Instant) -> bool {
        let tokens = self.refilled(now);
        let kept = if type_ == event_type::WARNING { 0 } else { KEPT_FOR_WARNINGS };
        let allowed = tokens >= f64::from(kept + 1);
        *self = Self { tokens: if allowed { tokens - 1.0 } else { tokens }, since: now };
        allowed
    }
}

/// The queue's limit for an Event of this type.
fn queue_limit(type_: &str) -> usize {
    MAX_QUEUED + if type_ == event_type::WARNING { QUEUE_KEPT_FOR_WARNINGS } else { 0 }
}

#[cfg(test)]
#[path = "state_test.rs"]
mod tests;
