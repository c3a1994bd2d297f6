//! The bookkeeping of the queue: what waits, what is being processed, what is due when. It reads no clock
//! (`now` is an argument) and never waits.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    cluster::{ObjectKey, table},
    controller::workqueue::{
        Requeue, WorkItem,
        lane::Lane,
        precedence::{Eligibility, Precedence},
        ready::ReadyQueue,
        retry::IMMEDIATE_DELAY,
    },
    telemetry::Trigger,
};

/// More corrections of children or the status than this within [`HOT_LOOP_WINDOW`] indicate another manager
/// that writes the same fields: further corrections are delayed.
pub(super) const HOT_LOOP_THRESHOLD: u32 = 5;
const HOT_LOOP_WINDOW: Duration = Duration::from_mins(1);
const HOT_LOOP_DELAY: Duration = Duration::from_secs(10);

/// All items and timers of the queue.
#[derive(Debug, Default)]
pub(super) struct QueueState {
    pub(super) entries: HashMap<ObjectKey, ItemState>,
    pub(super) ready: ReadyQueue,
    pub(super) timers: BTreeSet<(Instant, ObjectKey)>,
}

/// The state of one object.
#[derive(Debug, Default)]
pub(super) struct ItemState {
    /// In `ready`, or due again after it is processed.
    pub(super) dirty: Option<Dirty>,
    /// Since when it is being processed.
    pub(super) processing_since: Option<Instant>,
    lane: Lane,
    /// In `timers`.
    scheduled: Option<(Instant, Trigger)>,
    failures: u32,
    conflicts: u32,
    /// The current attempt came before its timer because a child changed.
    triggered_early: bool,
    not_before: Option<Instant>,
    drift_count: (u32, Option<Instant>),
    deleted: bool,
}

/// Why an object is due.
#[derive(Debug)]
pub(super) struct Dirty {
    since: Instant,
    trigger: Trigger,
    /// A timer enqueued the item.
    timed: bool,
}

/// The rank of a trigger, for choosing which of several to report; `precedence.rs` determines the order of the queue.
fn trigger_rank(trigger: Trigger) -> u8 {
    match trigger {
        Trigger::Spec => 4,
        Trigger::Dependency => 3,
        Trigger::Retry => 2,
        Trigger::Child => 1,
        Trigger::Resync => 0,
    }
}

impl ItemState {
    /// Until when the object counts as in a hot loop.
    fn contended_until(&self, now: Instant) -> Option<Instant> {
        let (count, since) = self.drift_count;
        let until = since.filter(|_| count > HOT_LOOP_THRESHOLD)? + HOT_LOOP_WINDOW;
        (now < until).then_some(until)
    }

    /// How long a child's change must wait because of a hot loop.
    fn hot_loop_delay(&self, now: Instant) -> Option<Duration> {
        self.contended_until(now).map(|until| HOT_LOOP_DELAY.min(until - now))
    }

    /// An early attempt must not lengthen the delays: otherwise, a child that changes often would postpone
    /// the retry of what no watch reports.
    fn count_failure(&mut self, failed: bool) {
        self.failures = match (failed, self.triggered_early) {
            (false, _) => 0,
            (true, true) => self.failures.max(1),
            (true, false) => self.failures.saturating_add(1),
        };
    }

    fn count_drift(&mut self, corrected: bool, now: Instant) {
        let (count, since) = &mut self.drift_count;
        if since.is_none_or(|since| now.duration_since(since) >= HOT_LOOP_WINDOW) {
            (*count, *since) = (0, None);
        }
        if corrected {
            *count += 1;
            since.get_or_insert(now);
        }
    }

    fn is_idle(&self) -> bool {
        self.dirty.is_none()
            && self.processing_since.is_none()
            && self.scheduled.is_none()
            && self.failures == 0
            && self.conflicts == 0
            && self.not_before.is_none()
            && self.drift_count.0 == 0
    }
}

impl QueueState {
    /// Enqueues an object. Returns whether it was not due before and is now.
    pub(super) fn add(&mut self, key: ObjectKey, lane: Lane, now: Instant, trigger: Trigger) -> bool {
        let entry = self.entries.entry(key.clone()).or_default();
        (entry.deleted, entry.lane) = (false, lane);
        if trigger == Trigger::Spec {
            (entry.failures, entry.not_before) = (0, None);
        }
        // Another manager may also write these: children and the status.
        let is_contended = matches!(trigger, Trigger::Child | Trigger::Resync);
        let slowed = entry.hot_loop_delay(now).filter(|_| is_contended).map(|delay| now + delay);
        match slowed.max(entry.not_before.filter(|at| *at > now)) {
            Some(at) => {
                self.add_after(&key, at, trigger);
                false
            }
            None => self.enqueue(key, now, trigger, false),
        }
    }

    /// Returns whether the item is new in the queue.
    fn enqueue(&mut self, key: ObjectKey, now: Instant, trigger: Trigger, timed: bool) -> bool {
        let entry = self.entries.entry(key.clone()).or_default();
        let lane = entry.lane;
        if let Some(dirty) = &mut entry.dirty {
            dirty.timed |= timed;
            if trigger_rank(dirty.trigger) < trigger_rank(trigger) {
                dirty.trigger = trigger;
                if entry.processing_since.is_none() {
                    self.ready.push(key, lane, trigger.into());
                }
            }
            return false;
        }
        entry.dirty = Some(Dirty { since: now, trigger, timed });
        if entry.processing_since.is_none() {
            self.ready.push(key, lane, trigger.into());
        }
        true
    }

    /// The next eligible item of a lane, its precedence, and how long it waited.
    pub(super) fn pop(
        &mut self,
        lane: Lane,
        eligibility: Eligibility,
        now: Instant,
    ) -> Option<(WorkItem, Precedence, Duration)> {
        let (key, is_one_of_few) = self.ready.pop(lane, eligibility)?;
        let entry = self.entries.get_mut(&key)?;
        let dirty = entry.dirty.take()?;
        entry.processing_since = Some(now);
        entry.triggered_early = dirty.trigger == Trigger::Child && !dirty.timed;
        let (failures, conflicts) = (entry.failures, entry.conflicts);
        let waited = now.duration_since(dirty.since);
        let contended = entry.hot_loop_delay(now).is_some();
        let item = WorkItem { key, trigger: dirty.trigger, failures, conflicts, contended };
        let precedence = match Precedence::from(item.trigger) {
            Precedence::Edit if is_one_of_few => Precedence::Preferred,
            other => other,
        };
        Some((item, precedence, waited))
    }

    /// Moves due items from the timers into the queue. Returns how many of them are new there.
    pub(super) fn promote_due(&mut self, now: Instant) -> usize {
        let mut count = 0;
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, key)) = self.timers.pop_first() else { break };
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            let trigger = entry.scheduled.take().map_or(Trigger::Resync, |(_, trigger)| trigger);
            // Also where a child changed while it waited: what comes at its time is not early.
            count += usize::from(self.enqueue(key, now, trigger, true));
        }
        count
    }

    /// Ends the processing of an item. Returns how long it took.
    pub(super) fn done(&mut self, key: &ObjectKey, requeue: &Requeue, now: Instant) -> Option<Duration> {
        let entry = self.entries.get_mut(key)?;
        let took = entry.processing_since.take().map(|since| now.duration_since(since));
        entry.conflicts = if requeue.immediate { entry.conflicts.saturating_add(1) } else { 0 };
        if !requeue.immediate {
            entry.count_failure(requeue.retry_after.is_some());
        }
        entry.not_before = requeue.not_before;
        entry.count_drift(requeue.corrected_drift, now);
        if entry.deleted && entry.dirty.is_none() {
            self.cancel_timer(key);
            self.entries.remove(key);
            return took;
        }
        self.requeue(key, requeue, now);
        if self.entries.get(key).is_some_and(ItemState::is_idle) {
            self.entries.remove(key);
            // Room for all objects is needed at startup, but seldom later.
            table::shrink(&mut self.entries);
        }
        took
    }

    fn requeue(&mut self, key: &ObjectKey, requeue: &Requeue, now: Instant) {
        // A child's change that was delayed is still due.
        let keeps_timer = |entry: &ItemState| matches!(entry.scheduled, Some((_, Trigger::Child)));
        if !self.entries.get(key).is_some_and(keeps_timer) {
            self.cancel_timer(key);
        }
        if let Some(dirty) = self.entries.get_mut(key).and_then(|entry| entry.dirty.take()) {
            // It became due while it was processed: the API server's `Retry-After` applies to it too.
            if let Some(at) = requeue.not_before.filter(|at| *at > now && dirty.trigger != Trigger::Spec) {
                self.add_after(key, at, dirty.trigger);
            } else if let Some(entry) = self.entries.get_mut(key) {
                self.ready.push(key.clone(), entry.lane, dirty.trigger.into());
                // As in client-go, its wait counts from when it became due.
                entry.dirty = Some(dirty);
            }
        }
        if requeue.immediate {
            self.add_after(key, now + IMMEDIATE_DELAY, Trigger::Retry);
        }
        if let Some(delay) = requeue.retry_after {
            self.add_after(key, now + delay, Trigger::Retry);
        }
        // The status reports a hot loop, and its end.
        let contended_until = self.entries.get(key).and_then(|entry| entry.contended_until(now));
        if let Some(at) = requeue.requeue_at.into_iter().chain(contended_until).min() {
            self.add_after(key, at, Trigger::Resync);
        }
    }

    /// Removes a deleted object and its timer.
    pub(super) fn remove(&mut self, key: &ObjectKey) {
        self.cancel_timer(key);
        if let Some(entry) = self.entries.get_mut(key) {
            entry.deleted = true;
            if entry.processing_since.is_none() && entry.dirty.is_none() {
                self.entries.remove(key);
            }
        }
    }

    /// The earlier of two times wins; a child's change is remembered in either case.
    fn add_after(&mut self, key: &ObjectKey, at: Instant, trigger: Trigger) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        match &mut entry.scheduled {
            Some((known, reason)) if *known <= at => {
                if trigger == Trigger::Child {
                    *reason = trigger;
                }
                return;
            }
            Some((known, _)) => {
                self.timers.remove(&(*known, key.clone()));
            }
            None => {}
        }
        entry.scheduled = Some((at, trigger));
        self.timers.insert((at, key.clone()));
    }

    fn cancel_timer(&mut self, key: &ObjectKey) {
        if let Some((at, _)) = self.entries.get_mut(key).and_then(|entry| entry.scheduled.take()) {
            self.timers.remove(&(at, key.clone()));
        }
    }
}
