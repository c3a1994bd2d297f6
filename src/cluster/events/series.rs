//! One series of Events: how often it occurred, what the API server has of it, and when the next call is due.
//! Pure; the clock is handed in.
//!
//! An occurrence costs a call when it is the first, the second, or the first after [`SERIES_UPDATE_INTERVAL`];
//! the others are counted and written with the next call. A call that fails is due again after a back-off.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::{
    api::event::NewEvent,
    backoff::ExponentialBackoff,
    cluster::events::{
        counts::SeriesCounts,
        object::{FoundEvent, Regarding},
        write::{EventWrite, EventWriteResult, NextStep, PendingEvent, PublishAction},
    },
    telemetry::{CallingReconcile, EventOutcome, SpanIds},
};

/// From the third occurrence on, a series is written at most once in this time, and once after it has been
/// quiet for so long.
pub const SERIES_UPDATE_INTERVAL: Duration = Duration::from_secs(30);

/// The pauses between the attempts of a call that fails, and what bounds their number.
const BACKOFF: ExponentialBackoff = ExponentialBackoff::new(Duration::from_secs(1), Duration::from_secs(10));
const MAX_ATTEMPTS: u32 = 16;
const RETRY_WINDOW: Duration = Duration::from_mins(10);

/// So many names are tried where foreign Events have taken ours.
const MAX_NAME_ATTEMPTS: u32 = 4;

/// One Event of the API server, and the occurrences that it stands for.
#[derive(Clone, Debug)]
pub struct Series {
    type_: &'static str,
    reason: &'static str,
    namespace: String,
    /// Kept until the Event exists.
    pending: Option<Box<PendingEvent>>,
    counts: SeriesCounts,
    last_trace: Option<String>,
    /// Kept until they are written.
    caller: Option<Box<CallingReconcile>>,
    /// Occurrences whose outcome is not known yet.
    open: u32,
    /// Its call waits for its turn.
    queued: bool,
    in_flight: bool,
    retry: Option<Retry>,
}

#[derive(Clone, Copy, Debug)]
struct Retry {
    attempts: u32,
    first_failed: Instant,
    at: Instant,
}

impl Series {
    /// A series with so many occurrences.
    #[must_use]
    pub fn new(regarding: &Regarding, event: &NewEvent, counts: SeriesCounts) -> Self {
        Self {
            type_: event.type_,
            reason: event.reason,
            namespace: regarding.namespace.clone(),
            pending: None,
            counts,
            last_trace: None,
            caller: None,
            open: 0,
            queued: false,
            in_flight: false,
            retry: None,
        }
    }

    /// Counts an occurrence, unless `since` tells that it is the last one once more.
    pub fn add(
        &mut self,
        since: Option<Timestamp>,
        ids: Option<&SpanIds>,
        at: Timestamp,
        now: Instant,
    ) -> PublishAction {
        let republished = self.counts.count > 0 && since.is_some_and(|since| self.counts.last >= since);
        if !republished {
            self.counts.count = self.counts.count.saturating_add(1);
            self.counts.last = at;
            self.last_trace = ids.map(SpanIds::trace_id);
        }
        if republished && (self.counts.recorded > 0 || self.is_pending()) {
            return PublishAction::Defer;
        }
        if self.is_pending() {
            self.open += 1;
            return PublishAction::Await;
        }
        let recent = self.counts.recorded_at + SERIES_UPDATE_INTERVAL > now;
        if self.counts.recorded > 1 && recent { PublishAction::Defer } else { PublishAction::Write }
    }

    /// Takes what a call needs, for an occurrence that leads to one.
    pub fn open(&mut self, regarding: &Regarding, event: &NewEvent, ids: Option<SpanIds>) {
        self.open += 1;
        self.queued = true;
        self.pending.get_or_insert_with(|| {
            Box::new(PendingEvent { regarding: regarding.clone(), event: event.clone(), ids })
        });
    }

    /// The reconcile whose call it is that is to be made.
    pub fn set_caller(&mut self, caller: Option<CallingReconcile>) {
        self.caller = caller.map(Box::new);
    }

    /// Begins a call, unless one is running or nothing is to be written.
    pub fn begin(&mut self) -> Option<EventWrite> {
        self.queued = false;
        let creates = self.counts.recorded == 0;
        if self.in_flight || self.counts.count <= self.counts.recorded || (creates && self.pending.is_none())
        {
            return None;
        }
        self.in_flight = true;
        Some(EventWrite {
            type_: self.type_,
            reason: self.reason,
            namespace: self.namespace.clone(),
            pending: self.pending.as_deref().filter(|_| creates).cloned(),
            names_taken: self.counts.names_taken,
            count: self.counts.count,
            first: self.counts.first,
            last: self.counts.last,
            last_trace: self.last_trace.clone(),
            caller: self.caller.as_deref().cloned(),
        })
    }

    /// Records what became of a call.
    pub fn end(&mut self, write: &EventWrite, result: EventWriteResult, now: Instant) -> NextStep {
        self.in_flight = false;
        match result {
            EventWriteResult::Written => NextStep::Done(self.written(write, now)),
            EventWriteResult::Found(found) => self.found(write, found, now),
            EventWriteResult::Expired => {
                // The next call begins a new Event: this one where the occurrence is at hand, or that of the
                // next occurrence.
                self.counts.recorded = 0;
                self.retry = None;
                if self.pending.is_some() {
                    return NextStep::Again;
                }
                NextStep::Done(self.close(EventOutcome::Aggregated))
            }
            EventWriteResult::NamespaceGone => NextStep::Forget(Vec::new()),
            EventWriteResult::Failed(retry_after) => {
                self.retry = self.next_retry(retry_after, now);
                if self.retry.is_some() {
                    return NextStep::Done(Vec::new());
                }
                NextStep::Forget(self.close(EventOutcome::Failed))
            }
        }
    }

    /// A call that was cancelled: whether it was made is not known, so it is due again.
    pub fn cancel(&mut self, now: Instant) {
        self.in_flight = false;
        self.retry = self.next_retry(None, now).or(self.retry);
    }

    /// Whether its call waits for its turn.
    #[must_use]
    pub fn is_queued(&self) -> bool {
        self.queued
    }

    /// When the next call is due.
    #[must_use]
    pub fn due_at(&self) -> Option<Instant> {
        if self.queued {
            return None;
        }
        match (self.in_flight, self.retry, self.counts.recorded) {
            (true, ..) => None,
            (false, Some(retry), _) => Some(retry.at),
            (false, None, recorded) if recorded == 0 || self.counts.count <= recorded => None,
            (false, None, 1) => Some(self.counts.recorded_at),
            (false, None, _) => Some(self.counts.recorded_at + SERIES_UPDATE_INTERVAL),
        }
    }

    /// Whether a call is running, waits for its turn or is due.
    #[must_use]
    pub fn is_unwritten(&self) -> bool {
        self.pending.is_some() || self.queued || self.in_flight || self.due_at().is_some()
    }

    /// How often it occurred, and what the API server has of it.
    #[must_use]
    pub fn counts(&self) -> SeriesCounts {
        self.counts
    }

    /// The occurrences whose outcome is not known, as type, reason and number.
    #[must_use]
    pub fn lost(&self) -> Option<(&'static str, &'static str, u32)> {
        (self.open > 0).then_some((self.type_, self.reason, self.open))
    }

    /// Whether a call is running, waits or has failed: the next one counts later occurrences too.
    fn is_pending(&self) -> bool {
        self.queued || self.in_flight || self.retry.is_some()
    }

    fn written(&mut self, write: &EventWrite, now: Instant) -> Vec<(EventOutcome, u32)> {
        self.counts.recorded = write.count;
        self.counts.recorded_at = now;
        self.retry = None;
        self.pending = None;
        self.caller = None;
        match (&write.pending, std::mem::take(&mut self.open)) {
            (Some(_), open @ 1..) => {
                vec![(EventOutcome::Created, 1), (EventOutcome::Aggregated, open - 1)]
            }
            (_, open) => vec![(EventOutcome::Aggregated, open)],
        }
    }

    fn found(&mut self, write: &EventWrite, found: FoundEvent, now: Instant) -> NextStep {
        let (count, first, last) = match found {
            FoundEvent::Own { count, first, last } => (count, first, last),
            FoundEvent::Foreign => {
                self.counts.names_taken += 1;
                return if self.counts.names_taken < MAX_NAME_ATTEMPTS {
                    NextStep::Again
                } else {
                    NextStep::Done(self.close(EventOutcome::Failed))
                };
            }
        };
        // Created by a call of ours whose answer was lost: it counts what we had counted by then.
        let own = first == Some(self.counts.first);
        // Published before a restart or a take-over: it is no second occurrence.
        let since = write.pending.as_ref().and_then(|pending| pending.regarding.since);
        let republished = since.zip(last).is_some_and(|(since, last)| last >= since);
        if !own {
            self.counts.count =
                self.counts.count.saturating_add(count).saturating_sub(i32::from(republished));
        }
        self.counts.recorded = count;
        self.counts.recorded_at = now;
        self.retry = None;
        self.pending = None;
        if self.counts.count > self.counts.recorded {
            return NextStep::Again;
        }
        NextStep::Done(self.close(if own { EventOutcome::Created } else { EventOutcome::Aggregated }))
    }

    fn close(&mut self, outcome: EventOutcome) -> Vec<(EventOutcome, u32)> {
        (self.pending, self.caller) = (None, None);
        vec![(outcome, std::mem::take(&mut self.open))]
    }

    fn next_retry(&self, retry_after: Option<Duration>, now: Instant) -> Option<Retry> {
        let (attempts, first_failed) =
            self.retry.map_or((1, now), |retry| (retry.attempts + 1, retry.first_failed));
        let at = now + retry_after.unwrap_or_default().max(BACKOFF.delay(attempts - 1));
        let in_time = attempts < MAX_ATTEMPTS && at <= first_failed + RETRY_WINDOW;
        in_time.then_some(Retry { attempts, first_failed, at })
    }
}

#[cfg(test)]
#[path = "series_test.rs"]
mod tests;
