//! The slots of a lane: counts the reconciles that apply or write a status, and grants free slots. Writes
//! nothing.
//!
//! Reconciles that apply and those that write a status share the slots. If both wait, most slots are for
//! statuses, so that a status follows its children at once. Some slots then stay free: requests in flight at
//! a saturated API server delay its watches, through which every client sees the writes. In a burst of
//! creates, half of the children go first, then their statuses (`split.rs`). Namespaces take turns.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};

use crate::{
    cluster::round_robin::RoundRobin,
    controller::workqueue::{
        lane::Lane,
        precedence::{Precedence, PrecedenceGate, PrecedenceGuard, StatusGuard},
        split::{IN_STEP, Load, Split},
    },
};

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
    /// For 16 slots.
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

impl StatusCounts {
    fn in_slots(&self) -> usize {
        self.writing - self.slow
    }
}

impl SlotsState {
    fn is_free(&self, split: Split) -> bool {
        self.applying + self.statuses.in_slots() < split.open
    }
}

impl SharedSlots {
    pub(super) fn new(count: usize, lane: Lane, gate: Arc<PrecedenceGate>) -> Self {
        let state = SlotsState {
            split: IN_STEP,
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

    /// Adapts the split to the load.
    pub(super) fn balance(self: &Arc<Self>, load: Load) {
        {
            let mut state = self.state.lock();
            state.split = load.split(state.split, self.count);
        }
        self.grant();
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
        let split = state.split.of(self.count);
        let has_turn = state.statuses.in_slots() < split.for_statuses || state.is_idle;
        let is_bounded = state.statuses.writing < self.count;
        if !has_turn || !is_bounded || !state.is_free(split) || state.waiting_for_status.is_empty() {
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
        if !state.is_free(state.split.of(self.count)) {
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
