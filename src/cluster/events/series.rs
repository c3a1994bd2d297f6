//! One series of Events: its count, how much of it the API server has, and when the next call is due. Pure;
//! takes the time as an argument.
//!
//! The first and second occurrence and the first one after [`SERIES_UPDATE_INTERVAL`] need a call; the others
//! are counted and written with the next call. A failed call is retried after a back-off.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use crate::{
    api::event::NewEvent,
    cluster::{
        ObjectKey,
        events::{
            counts::SeriesCounts,
            object::{FoundEvent, Regarding},
            retry::WriteRetry,
            write::{EventWrite, EventWriteResult, NextStep, PendingEvent, PublishAction},
        },
    },
    telemetry::{CallingReconcile, EventOutcome, ObjectReference, SpanIds},
};

/// From the third occurrence on, a series is written at most once per interval, and once more after it has
/// been quiet for one.
pub const SERIES_UPDATE_INTERVAL: Duration = Duration::from_secs(30);

/// How many alternative names are tried if foreign Events have taken ours.
const MAX_NAME_ATTEMPTS: u32 = 4;

/// Unwritten occurrences: type, reason and number.
pub type UnwrittenOccurrences = (&'static str, &'static str, u32);

/// One Event in the API server, and the occurrences that it counts.
#[derive(Clone, Debug)]
pub struct Series {
    type_: &'static str,
    reason: &'static str,
    object: Arc<ObjectReference>,
    /// Kept until the Event exists.
    pending: Option<Box<PendingEvent>>,
    counts: SeriesCounts,
    last_trace: Option<String>,
    /// Kept until the occurrences are written.
    caller: Option<Box<CallingReconcile>>,
    /// Occurrences whose outcome is still unknown.
    open: u32,
    /// Its call waits in the queue.
    queued: bool,
    in_flight: bool,
    retry: Option<WriteRetry>,
    /// Its object has caused too many calls: the next one is due then.
    deferred_until: Option<Instant>,
}

impl Series {
    /// A series with these counts.
    #[must_use]
    pub fn new(regarding: &Regarding, event: &NewEvent, counts: SeriesCounts) -> Self {
        Self {
            type_: event.type_,
            reason: event.reason,
            object: regarding.object.clone(),
            pending: None,
            counts,
            last_trace: None,
            caller: None,
            open: 0,
            queued: false,
            in_flight: false,
            retry: None,
            deferred_until: None,
        }
    }

    /// Counts an occurrence, unless `since` shows that it repeats the last one.
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

    /// Prepares a call for an occurrence that needs one.
    pub fn open(&mut self, regarding: &Regarding, event: &NewEvent, ids: Option<SpanIds>) {
        self.open += 1;
        self.queued = true;
        self.pending.get_or_insert_with(|| {
            Box::new(PendingEvent { regarding: regarding.clone(), event: event.clone(), ids })
        });
    }

    /// Defers an occurrence that may cause no call: if the Event exists, a later call counts it.
    pub fn defer(&mut self, now: Instant) -> PublishAction {
        if self.counts.recorded == 0 {
            return PublishAction::Drop;
        }
        self.deferred_until.get_or_insert(now + SERIES_UPDATE_INTERVAL);
        PublishAction::Defer
    }

    /// Sets the reconcile on whose behalf the next call is made.
    pub fn set_caller(&mut self, caller: Option<CallingReconcile>) {
        self.caller = caller.map(Box::new);
    }

    /// Begins a call, unless one is running or nothing needs writing.
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
            namespace: self.object.namespace.clone(),
            pending: self.pending.as_deref().filter(|_| creates).cloned(),
            names_taken: self.counts.names_taken,
            count: self.counts.count,
            first: self.counts.first,
            last: self.counts.last,
            last_trace: self.last_trace.clone(),
            caller: self.caller.as_deref().cloned(),
        })
    }

    /// Records the result of a call.
    pub fn end(&mut self, write: &EventWrite, result: EventWriteResult, now: Instant) -> NextStep {
        self.in_flight = false;
        match result {
            EventWriteResult::Written => NextStep::Done(self.written(write, now)),
            EventWriteResult::Found(found) => self.found(write, found, now),
            EventWriteResult::Expired => {
                // The next call creates a new Event: for this occurrence if it is still available, else for
                // the next one.
                (self.counts.recorded, self.retry) = (0, None);
                if self.pending.is_some() {
                    return NextStep::Again;
                }
                NextStep::Done(self.close(EventOutcome::Aggregated))
            }
            EventWriteResult::NamespaceGone => NextStep::Forget(Vec::new()),
            EventWriteResult::Failed(retry_after) => {
                self.retry = WriteRetry::next(self.retry, retry_after, now);
                if self.retry.is_some() {
                    return NextStep::Done(Vec::new());
                }
                NextStep::Forget(self.close(EventOutcome::Failed))
            }
        }
    }

    /// Records that a call was cancelled. It may have reached the API server, so it is due again.
    pub fn cancel(&mut self, now: Instant) {
        self.in_flight = false;
        self.retry = WriteRetry::next(self.retry, None, now).or(self.retry);
    }

    /// Whether its call waits in the queue.
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
            (false, None, 1) => self.deferred_until.or(Some(self.counts.recorded_at)),
            (false, None, _) => {
                self.deferred_until.or(Some(self.counts.recorded_at + SERIES_UPDATE_INTERVAL))
            }
        }
    }

    /// Whether a call is running, queued or due.
    #[must_use]
    pub fn is_unwritten(&self) -> bool {
        self.pending.is_some() || self.queued || self.in_flight || self.due_at().is_some()
    }

    /// The key of the Event of this name.
    #[must_use]
    pub fn key(&self, name: String) -> ObjectKey {
        ObjectKey { namespace: self.object.namespace.clone(), name }
    }

    /// The counts of the series.
    #[must_use]
    pub fn counts(&self) -> SeriesCounts {
        self.counts
    }

    /// The unwritten occurrences, if any.
    #[must_use]
    pub fn unwritten_occurrences(&self) -> Option<UnwrittenOccurrences> {
        (self.open > 0).then_some((self.type_, self.reason, self.open))
    }

    /// Whether a call is running, queued or failed: the next call includes later occurrences.
    fn is_pending(&self) -> bool {
        self.queued || self.in_flight || self.retry.is_some()
    }

    fn written(&mut self, write: &EventWrite, now: Instant) -> Vec<(EventOutcome, u32)> {
        self.counts.recorded = write.count;
        self.counts.recorded_at = now;
        (self.retry, self.deferred_until) = (None, None);
        (self.pending, self.caller) = (None, None);
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
        // Created by one of our calls whose answer was lost: it includes what we had counted by then.
        let own = first == Some(self.counts.first);
        // Published before a restart or a change of leader: not a second occurrence.
        let since = write.pending.as_ref().and_then(|pending| pending.regarding.since);
        let republished = since.zip(last).is_some_and(|(since, last)| last >= since);
        if !own {
            self.counts.count =
                self.counts.count.saturating_add(count).saturating_sub(i32::from(republished));
        }
        self.counts.recorded = count;
        self.counts.recorded_at = now;
        (self.retry, self.deferred_until, self.pending) = (None, None, None);
        if self.counts.count > self.counts.recorded {
            return NextStep::Again;
        }
        NextStep::Done(self.close(if own { EventOutcome::Created } else { EventOutcome::Aggregated }))
    }

    fn close(&mut self, outcome: EventOutcome) -> Vec<(EventOutcome, u32)> {
        (self.pending, self.caller) = (None, None);
        vec![(outcome, std::mem::take(&mut self.open))]
    }
}

#[cfg(test)]
#[path = "series_test.rs"]
mod tests;
