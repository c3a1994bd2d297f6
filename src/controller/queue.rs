//! The heart: which object is worked on next. One run an object at a time, in the order in which they came, with retries and
//! deadlines by time. It knows neither what an object is nor what is done with it.
//!
//! kube's own `Controller` hides its queue: no length, no trigger, no attempt count. All three are shown to users here.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::{
    cluster::Key,
    telemetry::{QueueMetrics, QueueProbe, Trigger},
};

/// So many corrections of children in [`FIGHT_WINDOW`] look like a fight with another manager: from then on they are slowed down.
const FIGHT_AFTER: u32 = 5;
const FIGHT_WINDOW: Duration = Duration::from_secs(60);
const FIGHT_PAUSE: Duration = Duration::from_secs(10);

/// One object's turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The object.
    pub key: Key,
    /// The weightiest of the reasons for this turn.
    pub trigger: Trigger,
    /// How many attempts in a row have failed before this one.
    pub failures: u32,
}

/// When an object's next turn is due without anything happening to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Next {
    /// The attempt failed, or has to wait for what no watch tells: again after this time.
    pub retry: Option<Duration>,
    /// Something ends at this time, whatever happens.
    pub deadline: Option<Instant>,
    /// The API server asked not to be bothered before: only an edit comes sooner.
    pub not_before: Option<Instant>,
    /// A child was found changed by somebody else and was corrected.
    pub corrected: bool,
    /// The resourceVersions of what this turn wrote: a watch that told of them before their answers came brought no news.
    pub wrote: Vec<u64>,
}

/// The queue of one kind.
#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<State>,
    wake: Notify,
    metrics: OnceLock<QueueMetrics>,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<Key, Entry>,
    ready: VecDeque<Key>,
    timers: BTreeSet<(Instant, Key)>,
}

#[derive(Debug, Default)]
struct Entry {
    /// In `ready`, or running and due again.
    waiting: Option<Waiting>,
    /// Being worked on since.
    running: Option<Instant>,
    /// In `timers`.
    due: Option<(Instant, Trigger)>,
    failures: u32,
    not_before: Option<Instant>,
    corrections: (u32, Option<Instant>),
    gone: bool,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    trigger: Trigger,
    /// The resourceVersions that told of it; `None`: it is due whatever they were.
    told_by: Option<Vec<u64>>,
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

impl Queue {
    /// Measures the queue from now on.
    pub fn measured_by(&self, metrics: QueueMetrics) {
        let _ = self.metrics.set(metrics);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn measure(&self, with: impl Fn(&QueueMetrics)) {
        self.metrics.get().into_iter().for_each(with);
    }

    /// Something happened to an object. An edit makes earlier failures forgotten.
    pub fn add(&self, key: Key, trigger: Trigger) {
        self.tell(key, trigger, None);
    }

    /// As [`Queue::add`], where a watch told of it with the resourceVersion `told_by`.
    pub fn tell(&self, key: Key, trigger: Trigger, told_by: Option<u64>) {
        let now = Instant::now();
        let mut state = self.lock();
        let entry = state.entries.entry(key.clone()).or_default();
        entry.gone = false;
        if trigger == Trigger::Spec {
            (entry.failures, entry.not_before) = (0, None);
        }
        let fighting = entry.fighting(now).filter(|_| trigger == Trigger::Child).map(|pause| now + pause);
        if let Some(at) = fighting.max(entry.not_before.filter(|at| *at > now)) {
            state.schedule(&key, at, trigger);
            drop(state);
            self.wake.notify_one();
            return;
        }
        state.enqueue(key, now, trigger, told_by);
        drop(state);
        self.measure(QueueMetrics::added);
        self.wake.notify_one();
    }

    /// The object is gone: nothing is due for it any more.
    pub fn forget(&self, key: &Key) {
        let mut state = self.lock();
        state.unschedule(key);
        if let Some(entry) = state.entries.get_mut(key) {
            entry.gone = true;
            if entry.running.is_none() && entry.waiting.is_none() {
                state.entries.remove(key);
            }
        }
    }

    /// The next turn, as soon as there is one.
    pub async fn next(&self) -> Turn {
        loop {
            let woken = self.wake.notified();
            let due = {
                let mut state = self.lock();
                let now = Instant::now();
                for _ in 0..state.expire(now) {
                    self.measure(QueueMetrics::added);
                }
                if let Some((turn, waited)) = state.take(now) {
                    // Another worker has to look at what is left, and at the clock.
                    let more = !state.ready.is_empty() || !state.timers.is_empty();
                    drop(state);
                    self.measure(|m| m.dequeued(waited));
                    if more {
                        self.wake.notify_one();
                    }
                    return turn;
                }
                state.timers.first().map(|(at, _)| *at)
            };
            match due {
                Some(at) => {
                    let _ = tokio::time::timeout_at(at.into(), woken).await;
                }
                None => woken.await,
            }
        }
    }

    /// A turn has ended.
    pub fn done(&self, key: &Key, next: &Next) {
        let now = Instant::now();
        let mut state = self.lock();
        let Some(entry) = state.entries.get_mut(key) else { return };
        let took = entry.running.take().map(|since| now.duration_since(since));
        entry.failures = if next.retry.is_some() { entry.failures.saturating_add(1) } else { 0 };
        entry.not_before = next.not_before;
        entry.count_correction(next.corrected, now);
        entry.unhear(&next.wrote);
        if entry.gone && entry.waiting.is_none() {
            state.unschedule(key);
            state.entries.remove(key);
        } else {
            if entry.waiting.is_some() {
                // It was kept from `ready` while it ran.
                state.ready.push_back(key.clone());
            }
            // A correction that was put off is still due.
            if state.entries.get(key).is_none_or(|e| !matches!(e.due, Some((_, Trigger::Child)))) {
                state.unschedule(key);
            }
            if let Some(pause) = next.retry {
                state.schedule(key, now + pause, Trigger::Retry);
            }
            if let Some(at) = next.deadline {
                state.schedule(key, at, Trigger::Resync);
            }
            state.sweep(key);
        }
        drop(state);
        if let Some(took) = took {
            self.measure(|m| m.worked(took));
        }
        if next.retry.is_some() {
            self.measure(QueueMetrics::retried);
        }
        self.wake.notify_one();
    }

    /// What is measured at collection.
    pub fn probe(&self) -> QueueProbe {
        let (now, state) = (Instant::now(), self.lock());
        let running = state.entries.values().filter_map(|e| e.running).map(|since| now.duration_since(since));
        let (unfinished, longest) = running.fold((Duration::ZERO, Duration::ZERO), |(sum, max), d| (sum + d, max.max(d)));
        QueueProbe { depth: state.ready.len() as u64, unfinished, longest }
    }

    /// How many objects are waiting or being worked on.
    pub fn busy(&self) -> usize {
        self.lock().entries.values().filter(|e| e.running.is_some() || e.waiting.is_some()).count()
    }

    /// How many objects are being worked on.
    pub fn running(&self) -> usize {
        self.lock().entries.values().filter(|e| e.running.is_some()).count()
    }
}

impl Entry {
    /// How long a child's change has to wait, while this looks like a fight.
    fn fighting(&self, now: Instant) -> Option<Duration> {
        let (count, since) = self.corrections;
        let since = since.filter(|since| now.duration_since(*since) < FIGHT_WINDOW)?;
        (count > FIGHT_AFTER).then(|| FIGHT_PAUSE.min(FIGHT_WINDOW.saturating_sub(now.duration_since(since))))
    }

    /// Drops a turn that is due only because a watch was faster than the answer to our own write.
    fn unhear(&mut self, wrote: &[u64]) {
        if let Some(told_by) = self.waiting.as_mut().and_then(|waiting| waiting.told_by.as_mut()) {
            told_by.retain(|version| !wrote.contains(version));
            if told_by.is_empty() {
                self.waiting = None;
            }
        }
    }

    fn count_correction(&mut self, corrected: bool, now: Instant) {
        let (count, since) = &mut self.corrections;
        if since.is_none_or(|since| now.duration_since(since) >= FIGHT_WINDOW) {
            (*count, *since) = (0, None);
        }
        if corrected {
            *count += 1;
            since.get_or_insert(now);
        }
    }
}

impl State {
    fn enqueue(&mut self, key: Key, now: Instant, trigger: Trigger, told_by: Option<u64>) {
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
        entry.waiting = Some(Waiting { since: now, trigger, told_by: told_by.map(|version| vec![version]) });
        if entry.running.is_none() {
            self.ready.push_back(key);
        }
    }

    fn take(&mut self, now: Instant) -> Option<(Turn, Duration)> {
        let key = self.ready.pop_front()?;
        let entry = self.entries.get_mut(&key)?;
        let waiting = entry.waiting.take()?;
        entry.running = Some(now);
        let failures = entry.failures;
        Some((Turn { key, trigger: waiting.trigger, failures }, now.duration_since(waiting.since)))
    }

    /// Moves what is due from the timers into the queue. Returns how many.
    fn expire(&mut self, now: Instant) -> usize {
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
    fn schedule(&mut self, key: &Key, at: Instant, trigger: Trigger) {
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

    fn unschedule(&mut self, key: &Key) {
        if let Some((at, _)) = self.entries.get_mut(key).and_then(|entry| entry.due.take()) {
            self.timers.remove(&(at, key.clone()));
        }
    }

    /// An object about which nothing is to be remembered costs nothing.
    fn sweep(&mut self, key: &Key) {
        let idle = |e: &Entry| e.waiting.is_none() && e.running.is_none() && e.due.is_none() && e.failures == 0 && e.not_before.is_none() && e.corrections.0 == 0;
        if self.entries.get(key).is_some_and(idle) {
            self.entries.remove(key);
        }
    }
}

#[cfg(test)]
#[path = "queue_test.rs"]
mod tests;
