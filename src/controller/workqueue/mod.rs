//! The work queue: which object to reconcile next. One attempt per object at a time, in the order of
//! [`ready`], with retries and timers. It knows neither the objects nor how they are reconciled.
//!
//! kube's own `Controller` hides its queue: no length, no trigger, no attempt count. Elpio exposes all three.

mod lane;
pub mod precedence;
mod ready;
pub mod retry;
mod shared_slots;
pub mod slots;
mod split;
mod state;

use std::{sync::OnceLock, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use crate::{
    cluster::ObjectKey,
    controller::workqueue::{
        precedence::{Eligibility, Precedence},
        state::QueueState,
    },
    telemetry::{QueueMetrics, QueueStats, Trigger},
};

pub use self::lane::{LANES, Lane};

/// An object to reconcile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkItem {
    /// The object.
    pub key: ObjectKey,
    /// The highest-ranking of the pending triggers.
    pub trigger: Trigger,
    /// Consecutive failed attempts before this one.
    pub failures: u32,
    /// Consecutive attempts that met a newer state than they knew.
    pub conflicts: u32,
    /// Another manager keeps reverting the corrections, so they are slowed down.
    pub contended: bool,
}

/// When to reconcile an object again without any change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requeue {
    /// The attempt failed or waits for something that no watch reports: try again after this time.
    pub retry_after: Option<Duration>,
    /// The attempt met a newer state than it knew: try again at once, without counting a failure.
    pub immediate: bool,
    /// A deadline: reconcile at this time in any case.
    pub requeue_at: Option<Instant>,
    /// The API server asked for no request before this time: only an edit may be earlier.
    pub not_before: Option<Instant>,
    /// The attempt corrected a child or a status that another manager had changed.
    pub corrected_drift: bool,
}

/// The queue of one kind.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use elpio_operator::{
///     cluster::ObjectKey,
///     controller::workqueue::{Requeue, WorkQueue},
///     telemetry::Trigger,
/// };
///
/// let queue = WorkQueue::default();
/// let key = ObjectKey { namespace: "shop".into(), name: "cart".into() };
/// queue.add(key.clone(), Trigger::Child);
/// queue.add(key.clone(), Trigger::Spec);
/// let item = queue.get().await;
/// assert_eq!((item.key, item.trigger), (key.clone(), Trigger::Spec));
/// queue.done(&key, &Requeue::default());
/// # });
/// ```
#[derive(Debug, Default)]
pub struct WorkQueue {
    state: Mutex<QueueState>,
    wake: [Notify; LANES],
    metrics: OnceLock<QueueMetrics>,
}

impl WorkQueue {
    /// Sets the metrics of the queue.
    pub fn with_metrics(&self, metrics: QueueMetrics) {
        let _ = self.metrics.set(metrics);
    }

    fn measure(&self, record: impl Fn(&QueueMetrics)) {
        self.metrics.get().into_iter().for_each(record);
    }

    /// Enqueues an object. An edit resets its failures.
    pub fn add(&self, key: ObjectKey, trigger: Trigger) {
        self.add_to(0, key, trigger);
    }

    /// Like [`WorkQueue::add`], but also moves the object to this lane.
    pub fn add_to(&self, lane: Lane, key: ObjectKey, trigger: Trigger) {
        if self.state.lock().add(key, lane, Instant::now(), trigger) {
            self.measure(QueueMetrics::added);
        }
        self.wake_all();
    }

    /// Timers may have moved items into any lane.
    fn wake_all(&self) {
        self.wake.iter().for_each(Notify::notify_one);
    }

    /// Removes a deleted object.
    pub fn remove(&self, key: &ObjectKey) {
        self.state.lock().remove(key);
    }

    /// How many due items of a lane will apply children.
    #[must_use]
    pub fn waiting_to_apply(&self, lane: Lane) -> usize {
        self.state.lock().ready.waiting_to_apply(lane)
    }

    /// Waits for the next item.
    pub async fn get(&self) -> WorkItem {
        self.get_from(0, || Eligibility::All).await.0
    }

    /// Waits for the next eligible item of a lane.
    pub async fn get_from(
        &self,
        lane: Lane,
        eligibility: impl Fn() -> Eligibility,
    ) -> (WorkItem, Precedence) {
        loop {
            let woken = self.wake[lane].notified();
            let due = {
                let mut state = self.state.lock();
                let now = Instant::now();
                let promoted = state.promote_due(now);
                for _ in 0..promoted {
                    self.measure(QueueMetrics::added);
                }
                if promoted > 0 {
                    self.wake_all();
                }
                if let Some((item, precedence, waited)) = state.pop(lane, eligibility(), now) {
                    // Another worker must handle the remaining items and timers.
                    let more = !state.ready.is_empty() || !state.timers.is_empty();
                    drop(state);
                    self.measure(|m| m.dequeued(waited));
                    if more {
                        self.wake[lane].notify_one();
                    }
                    return (item, precedence);
                }
                state.timers.first().map(|(at, _)| *at)
            };
            match due {
                Some(at) => {
                    let _ = tokio::time::timeout_at(at, woken).await;
                }
                None => woken.await,
            }
        }
    }

    /// Marks an item as processed.
    pub fn done(&self, key: &ObjectKey, requeue: &Requeue) {
        let took = self.state.lock().done(key, requeue, Instant::now());
        if let Some(took) = took {
            self.measure(|m| m.worked(took));
        }
        if requeue.retry_after.is_some() || requeue.immediate {
            self.measure(QueueMetrics::retried);
        }
        self.wake_all();
    }

    /// The statistics, for collection.
    pub fn stats(&self) -> QueueStats {
        let (now, state) = (Instant::now(), self.state.lock());
        let running = state.entries.values().filter_map(|entry| entry.processing_since);
        let running = running.map(|since| now.duration_since(since));
        let (unfinished, longest) =
            running.fold((Duration::ZERO, Duration::ZERO), |(sum, max), d| (sum + d, max.max(d)));
        QueueStats { depth: state.ready.len() as u64, unfinished, longest }
    }

    /// Whether an object is being processed.
    pub fn is_processing(&self, key: &ObjectKey) -> bool {
        self.state.lock().entries.get(key).is_some_and(|entry| entry.processing_since.is_some())
    }

    /// How many objects are being processed.
    pub fn in_flight(&self) -> usize {
        self.state.lock().entries.values().filter(|entry| entry.processing_since.is_some()).count()
    }
}

#[cfg(test)]
#[path = "queue_test.rs"]
mod tests;
