//! The bookkeeping of the queue: who waits, who runs, what is due when. No clock of its own, no waiting:
//! `now` is handed in.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::{Duration, Instant},
};

use crate::{cluster::ObjectKey, telemetry::Trigger};

/// So many corrections of children in [`HOT_LOOP_WINDOW`] look like a fight with another manager: from then on
/// they are slowed down.
pub(in crate::controller) const HOT_LOOP_THRESHOLD: u32 = 5;
const HOT_LOOP_WINDOW: Duration = Duration::from_mins(1);
const HOT_LOOP_DELAY: Duration = Duration::from_secs(10);

/// One object's turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkItem {
    /// The object.
    pub key: ObjectKey,
    /// The weightiest of the reasons for this turn.
    pub trigger: Trigger,
    /// How many attempts in a row have failed before this one.
    pub failures: u32,
}

/// Whose turn it is, and when.
#[derive(Debug, Default)]
pub struct QueueState {
    pub(in crate::controller) entries: HashMap<ObjectKey, ItemState>,
    pub(in crate::controller) ready: VecDeque<ObjectKey>,
    pub(in crate::controller) timers: BTreeSet<(Instant, ObjectKey)>,
}

/// What is remembered of one object.
#[derive(Debug, Default)]
pub struct ItemState {
    /// In `ready`, or running and due again.
    pub(in crate::controller) dirty: Option<Dirty>,
    /// Being worked on since.
    pub(in crate::controller) processing_since: Option<Instant>,
    /// In `timers`.
    pub(in crate::controller) scheduled: Option<(Instant, Trigger)>,
    pub(in crate::controller) failures: u32,
    /// The turn that runs came before its time, because a child changed.
    pub(in crate::controller) triggered_early: bool,
    pub(in crate::controller) not_before: Option<Instant>,
    pub(in crate::controller) drift_count: (u32, Option<Instant>),
    pub(in crate::controller) deleted: bool,
}

/// Why an object is due.
#[derive(Debug)]
pub struct Dirty {
    pub(in crate::controller) since: Instant,
    pub(in crate::controller) trigger: Trigger,
    /// The resourceVersions that told of it; `None`: it is due whatever they were.
    pub(in crate::controller) told_by: Option<Vec<u64>>,
}

/// A trigger's weight: the heaviest names the turn.
fn priority(trigger: Trigger) -> u8 {
    match trigger {
        Trigger::Spec => 4,
        Trigger::Dependency => 3,
        Trigger::Retry => 2,
        Trigger::Child => 1,
        Trigger::Resync => 0,
    }
}

impl ItemState {
    /// How long a child's change has to wait, while this looks like a fight.
    pub(in crate::controller) fn hot_loop_delay(&self, now: Instant) -> Option<Duration> {
        let (count, since) = self.drift_count;
        let since = since.filter(|since| now.duration_since(*since) < HOT_LOOP_WINDOW)?;
        (count > HOT_LOOP_THRESHOLD)
            .then(|| HOT_LOOP_DELAY.min(HOT_LOOP_WINDOW.saturating_sub(now.duration_since(since))))
    }

    /// Drops a turn that is due only because a watch was faster than the answer to our own write.
    pub(in crate::controller) fn unhear(&mut self, wrote: &[u64]) {
        if let Some(told_by) = self.dirty.as_mut().and_then(|waiting| waiting.told_by.as_mut()) {
            told_by.retain(|version| !wrote.contains(version));
            if told_by.is_empty() {
                self.dirty = None;
            }
        }
    }

    /// A turn that came before its time does not make the pauses longer: a child that changes often would
    /// delay what nobody tells of.
    pub(in crate::controller) fn count_failure(&mut self, failed: bool) {
        self.failures = match (failed, self.triggered_early) {
            (false, _) => 0,
            (true, true) => self.failures.max(1),
            (true, false) => self.failures.saturating_add(1),
        };
    }

    pub(in crate::controller) fn count_drift(&mut self, corrected: bool, now: Instant) {
        let (count, since) = &mut self.drift_count;
        if since.is_none_or(|since| now.duration_since(since) >= HOT_LOOP_WINDOW) {
            (*count, *since) = (0, None);
        }
        if corrected {
            *count += 1;
            since.get_or_insert(now);
        }
    }
}

impl QueueState {
    pub(in crate::controller) fn enqueue(
        &mut self,
        key: ObjectKey,
        now: Instant,
        trigger: Trigger,
        told_by: Option<u64>,
    ) {
        let entry = self.entries.entry(key.clone()).or_default();
        if let Some(waiting) = &mut entry.dirty {
            if priority(waiting.trigger) < priority(trigger) {
                waiting.trigger = trigger;
            }
            match (&mut waiting.told_by, told_by) {
                (Some(all), Some(version)) => all.push(version),
                (all, _) => *all = None,
            }
            return;
        }
        entry.dirty = Some(Dirty { since: now, trigger, told_by: told_by.map(|version| vec![version]) });
        if entry.processing_since.is_none() {
            self.ready.push_back(key);
        }
    }

    pub(in crate::controller) fn pop(&mut self, now: Instant) -> Option<(WorkItem, Duration)> {
        let key = self.ready.pop_front()?;
        let entry = self.entries.get_mut(&key)?;
        let waiting = entry.dirty.take()?;
        entry.processing_since = Some(now);
        entry.triggered_early = waiting.trigger == Trigger::Child;
        let failures = entry.failures;
        Some((WorkItem { key, trigger: waiting.trigger, failures }, now.duration_since(waiting.since)))
    }

    /// Moves what is due from the timers into the queue. Returns how many.
    pub(in crate::controller) fn promote_due(&mut self, now: Instant) -> usize {
        let mut count = 0;
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, key)) = self.timers.pop_first() else { break };
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            let trigger = entry.scheduled.take().map_or(Trigger::Resync, |(_, trigger)| trigger);
            self.enqueue(key, now, trigger, None);
            count += 1;
        }
        count
    }

    /// The earlier of two times wins.
    pub(in crate::controller) fn add_after(&mut self, key: &ObjectKey, at: Instant, trigger: Trigger) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        match entry.scheduled {
            Some((known, _)) if known <= at => return,
            Some((known, _)) => {
                self.timers.remove(&(known, key.clone()));
            }
            None => {}
        }
        entry.scheduled = Some((at, trigger));
        self.timers.insert((at, key.clone()));
    }

    pub(in crate::controller) fn cancel_timer(&mut self, key: &ObjectKey) {
        if let Some((at, _)) = self.entries.get_mut(key).and_then(|entry| entry.scheduled.take()) {
            self.timers.remove(&(at, key.clone()));
        }
    }

    /// An object about which nothing is to be remembered costs nothing.
    pub(in crate::controller) fn gc(&mut self, key: &ObjectKey) {
        let idle = |e: &ItemState| {
            e.dirty.is_none()
                && e.processing_since.is_none()
                && e.scheduled.is_none()
                && e.failures == 0
                && e.not_before.is_none()
                && e.drift_count.0 == 0
        };
        if self.entries.get(key).is_some_and(idle) {
            self.entries.remove(key);
        }
    }
}
