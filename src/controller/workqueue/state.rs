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
    pub(in crate::controller) waiting: Option<Dirty>,
    /// Being worked on since.
    pub(in crate::controller) running: Option<Instant>,
    /// In `timers`.
    pub(in crate::controller) due: Option<(Instant, Trigger)>,
    pub(in crate::controller) failures: u32,
    /// The turn that runs came before its time, because a child changed.
    pub(in crate::controller) early: bool,
    pub(in crate::controller) not_before: Option<Instant>,
    pub(in crate::controller) corrections: (u32, Option<Instant>),
    pub(in crate::controller) gone: bool,
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
fn weight(trigger: Trigger) -> u8 {
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
    pub(in crate::controller) fn fighting(&self, now: Instant) -> Option<Duration> {
        let (count, since) = self.corrections;
        let since = since.filter(|since| now.duration_since(*since) < HOT_LOOP_WINDOW)?;
        (count > HOT_LOOP_THRESHOLD)
            .then(|| HOT_LOOP_DELAY.min(HOT_LOOP_WINDOW.saturating_sub(now.duration_since(since))))
    }

    /// Drops a turn that is due only because a watch was faster than the answer to our own write.
    pub(in crate::controller) fn unhear(&mut self, wrote: &[u64]) {
        if let Some(told_by) = self.waiting.as_mut().and_then(|waiting| waiting.told_by.as_mut()) {
            told_by.retain(|version| !wrote.contains(version));
            if told_by.is_empty() {
                self.waiting = None;
            }
        }
    }

    /// A turn that came before its time does not make the pauses longer: a child that changes often would
    /// delay what nobody tells of.
    pub(in crate::controller) fn count_failure(&mut self, failed: bool) {
        self.failures = match (failed, self.early) {
            (false, _) => 0,
            (true, true) => self.failures.max(1),
            (true, false) => self.failures.saturating_add(1),
        };
    }

    pub(in crate::controller) fn count_correction(&mut self, corrected: bool, now: Instant) {
        let (count, since) = &mut self.corrections;
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
        if let Some(waiting) = &mut entry.waiting {
            if weight(waiting.trigger) < weight(trigger) {
                waiting.trigger = trigger;
            }
            match (&mut waiting.told_by, told_by) {
                (Some(all), Some(version)) => all.push(version),
                (all, _) => *all = None,
            }
            return;
        }
        entry.waiting = Some(Dirty { since: now, trigger, told_by: told_by.map(|version| vec![version]) });
        if entry.running.is_none() {
            self.ready.push_back(key);
        }
    }

    pub(in crate::controller) fn take(&mut self, now: Instant) -> Option<(WorkItem, Duration)> {
        let key = self.ready.pop_front()?;
        let entry = self.entries.get_mut(&key)?;
        let waiting = entry.waiting.take()?;
        entry.running = Some(now);
        entry.early = waiting.trigger == Trigger::Child;
        let failures = entry.failures;
        Some((WorkItem { key, trigger: waiting.trigger, failures }, now.duration_since(waiting.since)))
    }

    /// Moves what is due from the timers into the queue. Returns how many.
    pub(in crate::controller) fn expire(&mut self, now: Instant) -> usize {
        let mut count = 0;
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, key)) = self.timers.pop_first() else { break };
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            let trigger = entry.due.take().map_or(Trigger::Resync, |(_, trigger)| trigger);
            self.enqueue(key, now, trigger, None);
            count += 1;
        }
        count
    }

    /// The earlier of two times wins.
    pub(in crate::controller) fn schedule(&mut self, key: &ObjectKey, at: Instant, trigger: Trigger) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        match entry.due {
            Some((known, _)) if known <= at => return,
            Some((known, _)) => {
                self.timers.remove(&(known, key.clone()));
            }
            None => {}
        }
        entry.due = Some((at, trigger));
        self.timers.insert((at, key.clone()));
    }

    pub(in crate::controller) fn unschedule(&mut self, key: &ObjectKey) {
        if let Some((at, _)) = self.entries.get_mut(key).and_then(|entry| entry.due.take()) {
            self.timers.remove(&(at, key.clone()));
        }
    }

    /// An object about which nothing is to be remembered costs nothing.
    pub(in crate::controller) fn sweep(&mut self, key: &ObjectKey) {
        let idle = |e: &ItemState| {
            e.waiting.is_none()
                && e.running.is_none()
                && e.due.is_none()
                && e.failures == 0
                && e.not_before.is_none()
                && e.corrections.0 == 0
        };
        if self.entries.get(key).is_some_and(idle) {
            self.entries.remove(key);
        }
    }
}
