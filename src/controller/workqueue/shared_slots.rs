//! The slots of a lane: counts the reconciles that apply or write a status, and grants free slots. Writes
//! nothing.
//!
//! Reconciles that apply and those that write a status share the slots. If both wait, most slots are for
//! statuses, so that a status follows its children at once. Some slots then stay free: requests in flight at
//! a saturated API server delay its watches, through which every client sees the writes. In a burst of
//! creates, children go first: more slots are used, and few of them for statuses. Namespaces take turns.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};

use crate::{
    cluster::round_robin::RoundRobin,
    controller::workqueue::{
        lane::Lane,
        precedence::{Precedence, PrecedenceGate, PrecedenceGuard, StatusGuard},
    },
};

/// In a burst, at least this many reconciles per slot wait to apply.
pub(super) const MANY_PER_SLOT: usize = 16;

/// Children go first until this many reconciles per slot are in flight; then waiting status writes follow.
pub(super) const MAX_AHEAD_PER_SLOT: usize = 48;

/// The use of the slots at an `ELPIO_CONCURRENCY` of 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Split {
    /// How many reconciles write at once.
    pub(super) open: usize,
    /// How many of these write a status while children wait too.
    pub(super) for_statuses: usize,
}

/// Measured with an API server on two cores, as is [`CHILDREN_FIRST`]: docs/benchmark.md.
pub(super) const IN_STEP: Split = Split { open: 12, for_statuses: 9 };
pub(super) const CHILDREN_FIRST: Split = Split { open: 20, for_statuses: 4 };

/// Slow child writes that may continue without a slot, per slot. By default the API server has 245 of its 600 seats
/// for the requests of all service accounts (priority level `workload-low`).
pub(super) const SLOW_WRITES_PER_SLOT: usize = 8;

/// A preferred status write does not wait for a slot while fewer than this many are in use.
const MAX_PREFERRED_STATUSES: usize = 64;

/// The shared slots of a lane.
#[derive(Debug)]
pub(super) struct SharedSlots {
    state: Mutex<SlotsState>,
    /// Permits for slow child writes that continue without a slot.
    pub(super) slow_writes: Semaphore,
    gate: Arc<PrecedenceGate>,
    lane: Lane,
    count: usize,
}

#[derive(Debug)]
struct SlotsState {
    /// Scaled to `count`.
    split: Split,
    /// No item is about to apply, so statuses may use all slots.
    is_idle: bool,
    applying: usize,
    statuses: StatusCounts,
    waiting_to_apply: Option<oneshot::Sender<ApplySlot>>,
    waiting_for_status: RoundRobin<oneshot::Sender<StatusSlot>>,
}

#[derive(Debug, Default)]
struct StatusCounts {
    /// Status writes that are not preferred.
    writing: usize,
    /// How many of these released their slot.
    slow: usize,
    preferred: usize,
}

/// The slot of a reconcile that applies; released on drop.
#[derive(Debug)]
pub(super) struct ApplySlot {
    slots: Arc<SharedSlots>,
}

/// The slot of a status write; released on drop.
#[derive(Debug)]
pub(super) struct StatusSlot {
    slots: Arc<SharedSlots>,
    is_preferred: bool,
    is_slow: bool,
    /// `None` if the write is preferred or slow.
    counted: Option<StatusGuard>,
}

/// The load of a lane when a reconcile begins.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// The precedence of the reconcile.
    pub precedence: Precedence,
    /// No status of the object has been written yet.
    pub is_create: bool,
    /// How many reconciles wait to apply.
    pub waiting: usize,
    /// How many are in flight.
    pub in_flight: usize,
}

impl Load {
    /// The split to use from now on; `None`: unchanged. In a burst of edits, children do not go first: until
    /// the new status is written, the API server holds an outdated one.
    pub(super) fn split(self, count: usize) -> Option<Split> {
        let is_far_ahead = self.in_flight >= count * MAX_AHEAD_PER_SLOT;
        let is_wave = self.is_create && self.waiting >= count * MANY_PER_SLOT;
        match self.precedence {
            _ if is_far_ahead => Some(IN_STEP),
            Precedence::Normal => None,
            _ if is_wave => Some(CHILDREN_FIRST),
            _ => Some(IN_STEP),
        }
    }
}

impl Split {
    /// The split, scaled to `count` slots.
    pub(super) fn of(self, count: usize) -> Self {
        let scale = |of_16: usize| (count * of_16).div_ceil(16);
        let open = scale(self.open);
        // With several slots, children always keep one.
        Self { open, for_statuses: scale(self.for_statuses).min(open.saturating_sub(1)).max(1) }
    }
}

impl StatusCounts {
    fn in_slots(&self) -> usize {
        self.writing - self.slow
    }
}

impl SlotsState {
    fn is_free(&self) -> bool {
        self.applying + self.statuses.in_slots() < self.split.open
    }
}

impl SharedSlots {
    pub(super) fn new(count: usize, lane: Lane, gate: Arc<PrecedenceGate>) -> Self {
        let state = SlotsState {
            split: IN_STEP.of(count),
            is_idle: true,
            applying: 0,
            statuses: StatusCounts::default(),
            waiting_to_apply: None,
            waiting_for_status: RoundRobin::default(),
        };
        let slow_writes = Semaphore::new(count * SLOW_WRITES_PER_SLOT);
        Self { state: Mutex::new(state), slow_writes, gate, lane, count }
    }

    /// Counts a reconcile that begins to apply, whatever the limit.
    pub(super) fn enter(&self, precedence: Precedence) -> PrecedenceGuard {
        self.gate.enter(self.lane, precedence)
    }

    /// Pauses a reconcile that used the API server for `used`.
    pub(super) async fn pause(&self, precedence: Precedence, used: Duration) {
        self.gate.pause(precedence, used).await;
    }

    /// Chooses between children first and children in step with statuses.
    pub(super) fn balance(self: &Arc<Self>, load: Load) {
        if let Some(split) = load.split(self.count) {
            self.state.lock().split = split.of(self.count);
            self.grant();
        }
    }

    /// No reconcile will apply for a while: statuses may use all slots.
    pub(super) fn set_idle(self: &Arc<Self>) {
        self.state.lock().is_idle = true;
        self.grant();
    }

    /// Waits for a slot for applying. Only one caller may wait at a time.
    pub(super) async fn acquire_to_apply(self: &Arc<Self>) -> Option<ApplySlot> {
        let (sender, granted) = oneshot::channel();
        {
            let mut state = self.state.lock();
            (state.is_idle, state.waiting_to_apply) = (false, Some(sender));
        }
        self.grant();
        granted.await.ok()
    }

    /// A slot for a preferred status write, without waiting; `None` if too many of them run.
    pub(super) fn take_preferred(self: &Arc<Self>) -> Option<StatusSlot> {
        let mut state = self.state.lock();
        (state.statuses.preferred < MAX_PREFERRED_STATUSES).then(|| {
            state.statuses.preferred += 1;
            StatusSlot { slots: self.clone(), is_preferred: true, is_slow: false, counted: None }
        })
    }

    pub(super) async fn acquire_for_status(self: &Arc<Self>, namespace: &str) -> Option<StatusSlot> {
        let (sender, granted) = oneshot::channel();
        self.state.lock().waiting_for_status.push(namespace.to_owned(), sender);
        self.grant();
        granted.await.ok()
    }

    /// Grants free slots to waiting reconciles. Called whenever a slot may have become free.
    pub(super) fn grant(self: &Arc<Self>) {
        // If the receiver stopped waiting, the slot comes back and is dropped, which frees it.
        loop {
            if let Some((waiting, slot)) = self.next_for_status() {
                drop(waiting.send(slot));
            } else if let Some((waiting, slot)) = self.next_to_apply() {
                drop(waiting.send(slot));
            } else {
                return;
            }
        }
    }

    fn next_for_status(self: &Arc<Self>) -> Option<(oneshot::Sender<StatusSlot>, StatusSlot)> {
        let mut state = self.state.lock();
        let has_turn = state.statuses.in_slots() < state.split.for_statuses || state.is_idle;
        let is_bounded = state.statuses.writing < self.count;
        if !has_turn || !is_bounded || !state.is_free() || state.waiting_for_status.is_empty() {
            return None;
        }
        let counted = self.gate.try_begin_status(self.lane)?;
        let waiting = loop {
            let waiting = state.waiting_for_status.pop()?;
            if !waiting.is_closed() {
                break waiting;
            }
        };
        state.statuses.writing += 1;
        let slots = self.clone();
        Some((waiting, StatusSlot { slots, is_preferred: false, is_slow: false, counted: Some(counted) }))
    }

    fn next_to_apply(self: &Arc<Self>) -> Option<(oneshot::Sender<ApplySlot>, ApplySlot)> {
        let mut state = self.state.lock();
        if !state.is_free() {
            return None;
        }
        let waiting = state.waiting_to_apply.take()?;
        Some((waiting, self.count_applying(&mut state)))
    }

    /// A slot for an item that arrived while statuses could use all slots: it does not wait for them.
    pub(super) fn take_to_apply(self: &Arc<Self>) -> ApplySlot {
        let mut state = self.state.lock();
        state.is_idle = false;
        self.count_applying(&mut state)
    }

    fn count_applying(self: &Arc<Self>, state: &mut SlotsState) -> ApplySlot {
        state.applying += 1;
        ApplySlot { slots: self.clone() }
    }
}

impl Drop for ApplySlot {
    fn drop(&mut self) {
        self.slots.state.lock().applying -= 1;
        self.slots.grant();
    }
}

impl StatusSlot {
    /// The write is slow: other reconciles may use the slot, and the write loses its precedence.
    pub(super) fn give_up(&mut self) {
        self.counted = None;
        if !self.is_preferred && !self.is_slow {
            self.is_slow = true;
            self.slots.state.lock().statuses.slow += 1;
        }
    }
}

impl Drop for StatusSlot {
    fn drop(&mut self) {
        {
            let statuses = &mut self.slots.state.lock().statuses;
            let count = if self.is_preferred { &mut statuses.preferred } else { &mut statuses.writing };
            *count -= 1;
            statuses.slow -= usize::from(self.is_slow);
        }
        self.counted = None;
        self.slots.grant();
    }
}

#[cfg(test)]
#[path = "shared_slots_test.rs"]
pub(super) mod tests;
