//! The heart: which object is worked on next. One run an object at a time, in the order in which they came,
//! with retries and deadlines by time. It knows neither what an object is nor what is done with it.
//!
//! kube's own `Controller` hides its queue: no length, no trigger, no attempt count. All three are shown to
//! users here.

pub mod backoff;
pub mod slots;
pub(in crate::controller) mod state;

use std::{
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::{
    cluster::ObjectKey,
    controller::workqueue::state::QueueState,
    telemetry::{QueueMetrics, QueueStats, Trigger},
};

pub use crate::controller::workqueue::state::WorkItem;

/// When an object's next turn is due without anything happening to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requeue {
    /// The attempt failed, or has to wait for what no watch tells: again after this time.
    pub retry_after: Option<Duration>,
    /// Something ends at this time, whatever happens.
    pub resync_at: Option<Instant>,
    /// The API server asked not to be bothered before: only an edit comes sooner.
    pub not_before: Option<Instant>,
    /// A child was found changed by somebody else and was corrected.
    pub corrected_drift: bool,
    /// The resourceVersions of what this turn wrote: a watch that told of them before their answers came
    /// brought no news.
    pub wrote: Vec<u64>,
}

/// The queue of one kind.
#[derive(Debug, Default)]
pub struct WorkQueue {
    state: Mutex<QueueState>,
    wake: Notify,
    metrics: OnceLock<QueueMetrics>,
}

impl WorkQueue {
    /// Measures the queue from now on.
    pub fn with_metrics(&self, metrics: QueueMetrics) {
        let _ = self.metrics.set(metrics);
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn measure(&self, with: impl Fn(&QueueMetrics)) {
        self.metrics.get().into_iter().for_each(with);
    }

    /// Something happened to an object. An edit makes earlier failures forgotten.
    pub fn add(&self, key: ObjectKey, trigger: Trigger) {
        self.tell(key, trigger, None);
    }

    /// As [`WorkQueue::add`], where a watch told of it with the resourceVersion `told_by`.
    pub fn tell(&self, key: ObjectKey, trigger: Trigger, told_by: Option<u64>) {
        let now = Instant::now();
        let mut state = self.lock();
        let entry = state.entries.entry(key.clone()).or_default();
        entry.deleted = false;
        if trigger == Trigger::Spec {
            (entry.failures, entry.not_before) = (0, None);
        }
        let fighting =
            entry.hot_loop_delay(now).filter(|_| trigger == Trigger::Child).map(|pause| now + pause);
        if let Some(at) = fighting.max(entry.not_before.filter(|at| *at > now)) {
            state.add_after(&key, at, trigger);
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
    pub fn remove(&self, key: &ObjectKey) {
        let mut state = self.lock();
        state.cancel_timer(key);
        if let Some(entry) = state.entries.get_mut(key) {
            entry.deleted = true;
            if entry.processing_since.is_none() && entry.dirty.is_none() {
                state.entries.remove(key);
            }
        }
    }

    /// The next turn, as soon as there is one.
    pub async fn get(&self) -> WorkItem {
        loop {
            let woken = self.wake.notified();
            let due = {
                let mut state = self.lock();
                let now = Instant::now();
                for _ in 0..state.promote_due(now) {
                    self.measure(QueueMetrics::added);
                }
                if let Some((item, waited)) = state.pop(now) {
                    // Another worker has to look at what is left, and at the clock.
                    let more = !state.ready.is_empty() || !state.timers.is_empty();
                    drop(state);
                    self.measure(|m| m.dequeued(waited));
                    if more {
                        self.wake.notify_one();
                    }
                    return item;
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
    pub fn done(&self, key: &ObjectKey, next: &Requeue) {
        let now = Instant::now();
        let mut state = self.lock();
        let Some(entry) = state.entries.get_mut(key) else { return };
        let took = entry.processing_since.take().map(|since| now.duration_since(since));
        entry.count_failure(next.retry_after.is_some());
        entry.not_before = next.not_before;
        entry.count_drift(next.corrected_drift, now);
        entry.unhear(&next.wrote);
        if entry.deleted && entry.dirty.is_none() {
            state.cancel_timer(key);
            state.entries.remove(key);
        } else {
            if entry.dirty.is_some() {
                // It was kept from `ready` while it ran.
                state.ready.push_back(key.clone());
            }
            // A correction that was put off is still due.
            if state.entries.get(key).is_none_or(|e| !matches!(e.scheduled, Some((_, Trigger::Child)))) {
                state.cancel_timer(key);
            }
            if let Some(pause) = next.retry_after {
                state.add_after(key, now + pause, Trigger::Retry);
            }
            if let Some(at) = next.resync_at {
                state.add_after(key, at, Trigger::Resync);
            }
            state.gc(key);
        }
        drop(state);
        if let Some(took) = took {
            self.measure(|m| m.worked(took));
        }
        if next.retry_after.is_some() {
            self.measure(QueueMetrics::retried);
        }
        self.wake.notify_one();
    }

    /// What is measured at collection.
    pub fn stats(&self) -> QueueStats {
        let (now, state) = (Instant::now(), self.lock());
        let running =
            state.entries.values().filter_map(|e| e.processing_since).map(|since| now.duration_since(since));
        let (unfinished, longest) =
            running.fold((Duration::ZERO, Duration::ZERO), |(sum, max), d| (sum + d, max.max(d)));
        QueueStats { depth: state.ready.len() as u64, unfinished, longest }
    }

    /// How many objects are waiting or being worked on.
    pub fn pending(&self) -> usize {
        self.lock().entries.values().filter(|e| e.processing_since.is_some() || e.dirty.is_some()).count()
    }

    /// How many objects are being worked on.
    pub fn in_flight(&self) -> usize {
        self.lock().entries.values().filter(|e| e.processing_since.is_some()).count()
    }
}

#[cfg(test)]
#[path = "queue_test.rs"]
mod tests;
