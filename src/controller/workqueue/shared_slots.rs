//! Who uses the slots of a lane: counts those that apply and those that write a status, and grants what is free. It
//! writes nothing.
//!
//! What applies and what writes a status share the slots. Where both wait, half of them are for statuses, so that a
//! status is there soon after its children. Some slots stay free then: requests in flight at a saturated API server
//! delay its watches, by which everybody learns what was written. Where many reconciles wait to apply, their children
//! go first: more write at once, and few of them statuses. Namespaces take turns.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};

use crate::controller::workqueue::{
    lane::Lane,
    precedence::{Precedence, PrecedenceGate, PrecedenceGuard, StatusGuard},
    round_robin::RoundRobin,
};

/// Where so many reconciles wait for each slot, their children go first.
pub(super) const MANY_PER_SLOT: usize = 16;

/// How `ELPIO_CONCURRENCY` is used, where it is 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Split {
    /// How many write at once.
    pub(super) open: usize,
    /// How many of these write a status, where children wait too.
    pub(super) for_statuses: usize,
}

/// Measured at an API server with two cores, as is [`CHILDREN_FIRST`]: docs/benchmark.md.
pub(super) const IN_STEP: Split = Split { open: 12, for_statuses: 6 };
pub(super) const CHILDREN_FIRST: Split = Split { open: 20, for_statuses: 4 };

/// So many times as many children's writes as there are slots may go on without one. By default the API server has 245
/// seats of 600 for the requests of all service accounts (priority level `workload-low`).
pub(super) const SLOW_WRITES_PER_SLOT: usize = 8;

/// One that is preferred waits for no slot while fewer are in use.
const MAX_PREFERRED_STATUSES: usize = 64;

/// The slots, as each of those that use one knows them.
#[derive(Debug)]
pub(super) struct SharedSlots {
    state: Mutex<SlotsState>,
    /// Of children, that go on without a slot.
    pub(super) slow_writes: Semaphore,
    gate: Arc<PrecedenceGate>,
    lane: Lane,
    count: usize,
}

#[derive(Debug)]
struct SlotsState {
    /// For the number of slots.
    split: Split,
    /// No item may begin to apply: statuses may use all slots.
    is_idle: bool,
    applying: usize,
    statuses: StatusCounts,
    waiting_to_apply: Option<oneshot::Sender<ApplySlot>>,
    waiting_for_status: RoundRobin<oneshot::Sender<StatusSlot>>,
}

#[derive(Debug, Default)]
struct StatusCounts {
    /// Without the preferred ones.
    writing: usize,
    /// How many of these gave their slot back.
    slow: usize,
    preferred: usize,
}

/// A slot of one that applies; free again on drop.
#[derive(Debug)]
pub(super) struct ApplySlot {
    slots: Arc<SharedSlots>,
}

/// A slot of one that writes its status; free again on drop.
#[derive(Debug)]
pub(super) struct StatusSlot {
    slots: Arc<SharedSlots>,
    is_preferred: bool,
    is_slow: bool,
    /// Unless it is preferred or slow.
    counted: Option<StatusGuard>,
}

impl Split {
    /// The same of so many slots.
    pub(super) fn of(self, count: usize) -> Self {
        let scale = |of_16: usize| (count * of_16).div_ceil(16);
        Self { open: scale(self.open), for_statuses: scale(self.for_statuses) }
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

    /// One begins to apply, whoever runs.
    pub(super) fn enter(&self, precedence: Precedence) -> PrecedenceGuard {
        self.gate.enter(self.lane, precedence)
    }

    /// One of them has written, which took so long.
    pub(super) async fn pause(&self, precedence: Precedence, used: Duration) {
        self.gate.pause(precedence, used).await;
    }

    /// Lets children go first, or in step with statuses: `waiting` is how many wait to apply.
    pub(super) fn balance(self: &Arc<Self>, waiting: usize) {
        let split = if waiting >= self.count * MANY_PER_SLOT { CHILDREN_FIRST } else { IN_STEP };
        self.state.lock().split = split.of(self.count);
        self.grant();
    }

    /// Nothing applies for a while: statuses may use all slots.
    pub(super) fn set_idle(self: &Arc<Self>) {
        self.state.lock().is_idle = true;
        self.grant();
    }

    /// One caller at a time.
    pub(super) async fn acquire_to_apply(self: &Arc<Self>) -> Option<ApplySlot> {
        let (sender, granted) = oneshot::channel();
        {
            let mut state = self.state.lock();
            (state.is_idle, state.waiting_to_apply) = (false, Some(sender));
        }
        self.grant();
        granted.await.ok()
    }

    /// One at once for one that is preferred, unless too many are.
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

    /// Gives what is free to those that wait. Whoever they wait for calls this when it ends.
    pub(super) fn grant(self: &Arc<Self>) {
        // Where nobody waits any more, the slot that comes back is dropped, which frees it.
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

    /// One for an item that came while the slots were there for statuses: it waits for none of them.
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
    /// It takes long: others may use the slot, and it no longer goes before them.
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
