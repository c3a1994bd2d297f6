//! The order of calls for Events: after children and statuses, with namespaces taking turns. An Event waits in a
//! queue and blocks no reconcile. While reconciles run, calls are few: at first, `background.rs` makes one in each
//! interval; later, one call runs at a time, or more if many wait. It knows Events only by their keys.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::cluster::{ObjectKey, round_robin::RoundRobin};

/// Concurrent calls while no reconcile runs.
pub(super) const CONCURRENT_WRITES: usize = 16;

/// While reconciles run, Events that have waited for this long allow one concurrent call.
const MAX_DELAY: Duration = Duration::from_secs(10);

/// While reconciles run, each of this many waiting Events allows one more concurrent call.
const BACKLOG: usize = 2048;

/// The same while Events are held.
const HELD_BACKLOG: usize = 4 * BACKLOG;

/// The waiting and the running calls.
#[derive(Debug, Default)]
pub(super) struct EventQueue {
    calls: Mutex<Calls>,
    pub(super) wake: Notify,
    pub(super) reconciles: Arc<ActiveReconciles>,
    /// See [`Recorder::hold`](super::Recorder::hold).
    held_until: Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Calls {
    /// By the Event's key.
    waiting: RoundRobin<ObjectKey>,
    /// Since when some wait.
    waiting_since: Option<Instant>,
    /// How many calls run, by namespace.
    running: HashMap<String, usize>,
}

/// The slot of a running call; released on drop.
#[derive(Debug)]
pub(super) struct CallSlot<'a> {
    queue: &'a EventQueue,
    pub(super) event: ObjectKey,
}

impl Drop for CallSlot<'_> {
    fn drop(&mut self) {
        let running = &mut self.queue.calls.lock().running;
        if let Some(count) = running.get_mut(&self.event.namespace) {
            *count -= 1;
            if *count == 0 {
                running.remove(&self.event.namespace);
            }
        }
    }
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
    pub(super) fn push(&self, event: ObjectKey) {
        let Calls { waiting, waiting_since, .. } = &mut *self.calls.lock();
        waiting_since.get_or_insert_with(Instant::now);
        waiting.push(event.namespace.clone(), event);
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

    /// The next call. A namespace gets at most half of what the others leave: where a webhook holds the calls of
    /// some, there is a slot for one more.
    pub(super) fn pop(&self) -> Option<CallSlot<'_>> {
        let Calls { waiting, waiting_since, running } = &mut *self.calls.lock();
        let free = CONCURRENT_WRITES.saturating_sub(running.values().sum());
        let running_of = |namespace: &str| running.get(namespace).copied().unwrap_or_default();
        let event = waiting.pop_where(|namespace, _| running_of(namespace) < free)?;
        if waiting.is_empty() {
            // Gives back the memory that a burst needed.
            *waiting = RoundRobin::default();
            *waiting_since = None;
        }
        *running.entry(event.namespace.clone()).or_default() += 1;
        Some(CallSlot { queue: self, event })
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
        let Calls { waiting, waiting_since, .. } = &*self.calls.lock();
        let is_late = waiting_since.is_some_and(|since| since.elapsed() >= MAX_DELAY);
        let calls = if is_held {
            waiting.len() / HELD_BACKLOG
        } else {
            usize::from(is_late) + waiting.len() / BACKLOG
        };
        calls.min(CONCURRENT_WRITES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(namespace: &str, n: usize) -> ObjectKey {
        ObjectKey { namespace: namespace.to_owned(), name: n.to_string() }
    }

    #[test]
    fn events_make_room_for_every_reconcile() {
        let queue = EventQueue::default();
        assert_eq!(queue.allowed(), CONCURRENT_WRITES);
        let (first, second) = (queue.begin_reconcile(), queue.begin_reconcile());
        assert_eq!(queue.allowed(), 0);
        drop(first);
        (0..BACKLOG * 3).for_each(|n| queue.push(event("a", n)));
        assert_eq!(queue.allowed(), 3, "many wait");
        queue.hold(Duration::from_mins(1));
        assert_eq!(queue.allowed(), 0);
        drop(second);
        assert_eq!(queue.allowed(), 0, "another one that goes first may follow");
        (0..BACKLOG).for_each(|n| queue.push(event("a", n)));
        assert_eq!(queue.allowed(), 1, "very many wait");
        queue.hold(Duration::ZERO);
        assert_eq!(queue.allowed(), CONCURRENT_WRITES, "no reconcile runs");
    }

    #[test]
    fn events_do_not_wait_for_ever() {
        let queue = EventQueue::default();
        let _running = queue.begin_reconcile();
        (0..2).for_each(|n| queue.push(event("a", n)));
        assert_eq!(queue.allowed(), 0);
        queue.calls.lock().waiting_since = Instant::now().checked_sub(MAX_DELAY);
        assert_eq!(queue.allowed(), 1);
        queue.push(event("b", 1));
        drop(queue.pop());
        assert_eq!(queue.allowed(), 1, "some still wait");
        std::iter::from_fn(|| queue.pop()).for_each(drop);
        queue.push(event("a", 3));
        assert_eq!(queue.allowed(), 0, "this one is new");
    }

    #[test]
    fn first_come_first_served_within_a_namespace_and_the_namespaces_take_turns() {
        let queue = EventQueue::default();
        for (namespace, n) in [("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2)] {
            queue.push(event(namespace, n));
        }
        let order: Vec<String> =
            std::iter::from_fn(|| queue.pop()).map(|slot| slot.event.to_string()).collect();
        assert_eq!(order, ["a/1", "b/1", "a/2", "b/2", "a/3"]);
    }

    #[test]
    fn a_namespace_gets_half_of_what_the_others_leave() {
        let queue = EventQueue::default();
        let mut hanging = Vec::new();
        for (namespace, share) in [("a", 8), ("b", 4), ("c", 2), ("d", 1), ("e", 1), ("f", 0)] {
            (0..100).for_each(|n| queue.push(event(namespace, n)));
            let slots: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
            assert_eq!(slots.len(), share, "{namespace}");
            hanging.extend(slots);
        }
        assert_eq!(hanging.len(), CONCURRENT_WRITES);
        hanging.remove(0);
        let next = queue.pop().map(|slot| slot.event.namespace.clone());
        assert_eq!(next.as_deref(), Some("f"), "the others have more");
        hanging.clear();
        assert!(queue.calls.lock().running.is_empty());
    }
}
