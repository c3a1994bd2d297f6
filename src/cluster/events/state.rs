//! All series of Events and how many calls each object's Events may still cause. Pure; the clock is handed in.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use crate::{
    api::event::NewEvent,
    cluster::{
        events::{
            object::{Regarding, event_name},
            series::Series,
            write::{AfterWrite, EventWrite, EventWriteResult, PublishAction},
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

/// The occurrences of one type and reason that were lost.
pub type Lost = (&'static str, &'static str, u32);

/// Every series, and every object's budget.
#[derive(Debug, Default)]
pub struct RecorderState {
    series: HashMap<String, Series>,
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
        self.gc(now);
        let name = event_name(regarding, event);
        let series =
            self.series.entry(name.clone()).or_insert_with(|| Series::new(regarding, event, at, now));
        let mut action = series.add(regarding.since, ids.as_ref(), at, now);
        if action == PublishAction::Write {
            if take_token(&mut self.budgets, &regarding.uid, now) {
                series.open(regarding, event, ids);
            } else {
                action = PublishAction::Drop;
            }
        }
        if action == PublishAction::Write || series.is_unwritten() {
            series.set_caller(caller);
        }
        (name, action)
    }

    /// Begins the call for a series, unless one is running or nothing is to be written.
    pub fn begin(&mut self, name: &str) -> Option<EventWrite> {
        self.series.get_mut(name)?.begin()
    }

    /// Records what became of a call.
    pub fn end(
        &mut self,
        name: &str,
        write: &EventWrite,
        result: EventWriteResult,
        now: Instant,
    ) -> AfterWrite {
        let Some(series) = self.series.get_mut(name) else { return AfterWrite::Done(Vec::new()) };
        let after = series.end(write, result, now);
        if matches!(after, AfterWrite::Forget(_)) {
            self.series.remove(name);
        }
        after
    }

    /// A call that was cancelled.
    pub fn cancel(&mut self, name: &str, now: Instant) {
        if let Some(series) = self.series.get_mut(name) {
            series.cancel(now);
        }
    }

    /// The series that have something to write by now.
    #[must_use]
    pub fn due(&self, now: Instant) -> Vec<String> {
        self.names(|series| series.due_at().is_some_and(|at| at <= now))
    }

    /// When the next one has.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.series.values().filter_map(Series::due_at).min()
    }

    /// Every series that has something to write, or is being written.
    #[must_use]
    pub fn unwritten(&self) -> Vec<String> {
        self.names(Series::is_unwritten)
    }

    /// Gives up what is not written yet.
    pub fn give_up(&mut self) -> Vec<Lost> {
        std::mem::take(&mut self.series).values().filter_map(Series::lost).collect()
    }

    /// Forgets every series: another replica has led meanwhile, and has counted on.
    pub fn clear(&mut self) {
        self.series.clear();
    }

    fn names(&self, wanted: impl Fn(&Series) -> bool) -> Vec<String> {
        self.series.iter().filter(|(_, series)| wanted(series)).map(|(name, _)| name.clone()).collect()
    }

    /// Forgets what has been quiet for long.
    fn gc(&mut self, now: Instant) {
        if self.swept.is_some_and(|at| at + SERIES_TTL / 10 > now) {
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
