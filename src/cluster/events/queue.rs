//! The order of calls for Events: after children and statuses. An Event waits in a queue and blocks no
//! reconcile. While reconciles run, one call runs at a time, or more if many wait; while Events are held,
//! none does. It knows Events only by name.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Concurrent calls while no reconcile runs.
pub(super) const CONCURRENT_WRITES: usize = 16;

/// While reconciles run, each of this many waiting Events allows one more concurrent call.
const BACKLOG: usize = 2048;

/// The same while Events are held.
const HELD_BACKLOG: usize = 4 * BACKLOG;

/// The waiting calls, first in, first out.
#[derive(Debug, Default)]
pub(super) struct EventQueue {
    waiting: Mutex<VecDeque<String>>,
    pub(super) wake: Notify,
    pub(super) reconciles: Arc<ActiveReconciles>,
    /// See [`Recorder::hold`](super::Recorder::hold).
    held_until: Mutex<Option<Instant>>,
}

/// The reconciles that run: their writes go before Events.
#[derive(Debug, Default)]
pub(super) struct ActiveReconciles {
    count: AtomicUsize,
    pub(super) idle: Notify,
}

/// See [`Recorder::begin_reconcile`].
#[derive(Debug)]
pub struct ActiveReconcileGuard(Arc<ActiveReconciles>);

impl Drop for ActiveReconcileGuard {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_one();
        }
    }
}

impl EventQueue {
    pub(super) fn push(&self, name: String) {
        self.waiting.lock().push_back(name);
        self.wake.notify_one();
    }

    /// The time of the next due call has changed.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) fn begin_reconcile(&self) -> ActiveReconcileGuard {
        self.reconciles.count.fetch_add(1, Ordering::AcqRel);
        ActiveReconcileGuard(self.reconciles.clone())
    }

    pub(super) fn pop(&self) -> Option<String> {
        let mut waiting = self.waiting.lock();
        let next = waiting.pop_front();
        if waiting.is_empty() {
            // Gives back the memory that a burst needed.
            *waiting = VecDeque::new();
        }
        next
    }

    pub(super) fn hold(&self, time: Duration) {
        *self.held_until.lock() = Some(Instant::now() + time);
    }

    /// How many calls may run now.
    pub(super) fn allowed(&self) -> usize {
        let is_held = self.held_until.lock().is_some_and(|until| until > Instant::now());
        if !is_held && self.reconciles.count.load(Ordering::Acquire) == 0 {
            return CONCURRENT_WRITES;
        }
        let waiting = self.waiting.lock().len();
        let calls = if is_held { waiting / HELD_BACKLOG } else { 1 + waiting / BACKLOG };
        calls.min(CONCURRENT_WRITES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_make_room_for_every_reconcile() {
        let queue = EventQueue::default();
        assert_eq!(queue.allowed(), CONCURRENT_WRITES);
        let (first, second) = (queue.begin_reconcile(), queue.begin_reconcile());
        assert_eq!(queue.allowed(), 1);
        drop(first);
        assert_eq!(queue.allowed(), 1, "another one writes");
        queue.hold(Duration::from_mins(1));
        assert_eq!(queue.allowed(), 0);
        queue.hold(Duration::ZERO);
        assert_eq!(queue.allowed(), 1, "the time is over");
        (0..BACKLOG * 3).for_each(|n| queue.push(n.to_string()));
        assert_eq!(queue.allowed(), 4, "they do not starve");
        queue.hold(Duration::from_mins(1));
        drop(second);
        assert_eq!(queue.allowed(), 0, "another one that goes first may follow");
        (0..BACKLOG).for_each(|n| queue.push(n.to_string()));
        assert_eq!(queue.allowed(), 1, "they do not starve");
        queue.hold(Duration::ZERO);
        assert_eq!(queue.allowed(), CONCURRENT_WRITES);
    }

    #[test]
    fn first_come_first_served() {
        let queue = EventQueue::default();
        queue.push("a".to_owned());
        queue.push("b".to_owned());
        let next = || queue.pop();
        assert_eq!([next(), next(), next()], [Some("a".to_owned()), Some("b".to_owned()), None]);
    }
}
