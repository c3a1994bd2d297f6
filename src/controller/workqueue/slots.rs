//! How many reconciles apply children, and how many write their status, at once. It knows nothing of what they do.
//!
//! As many write statuses as apply, so that a status is there soon after its children. Where many reconciles wait to
//! apply, their children go first: few statuses are written then. Namespaces take turns. Events have no slot: see
//! [`crate::cluster::events`].
//!
//! A child's write that takes long gives its slot back, so that an engine's webhook that hangs keeps no slot. As each of
//! them takes a seat at the API server, from which other engines' writes would have to wait, their number is bounded.

use std::{pin::pin, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::controller::workqueue::{
    lane::Lane,
    precedence::{Precedence, PrecedenceGate, PrecedenceGuard, StatusGuard},
    round_robin::RoundRobin,
};

/// Children that take longer to be written give their slot to another reconcile, and are still written. A status that
/// takes longer no longer goes before others.
const SLOW_WRITE: Duration = Duration::from_secs(1);

/// So many times as many writes as may apply at once may go on without a slot. By default the API server has 245 seats
/// of 600 for the requests of all service accounts (priority level `workload-low`).
const SLOW_WRITES_PER_SLOT: usize = 8;

/// Where so many reconciles wait for each slot, their children go first.
const MANY_PER_SLOT: usize = 16;

/// Then so many of 16 slots are for statuses.
const STATUSES_BESIDE_APPLYING: usize = 4;

/// One that is preferred waits for no slot while fewer are in use.
const MAX_PREFERRED_STATUSES: usize = 64;

/// The slots of one lane.
#[derive(Debug)]
pub struct WorkerSlots {
    applying: Arc<Semaphore>,
    slow_writes: Arc<Semaphore>,
    status: Arc<StatusSlots>,
    count: usize,
}

/// The slots of those that write their status.
#[derive(Debug)]
struct StatusSlots {
    state: Mutex<StatusSlotsState>,
    gate: Arc<PrecedenceGate>,
    lane: Lane,
}

#[derive(Debug)]
struct StatusSlotsState {
    open: usize,
    /// By those that are not preferred.
    in_use: usize,
    preferred: usize,
    waiting: RoundRobin<oneshot::Sender<StatusSlot>>,
}

/// A slot of one that writes its status; free again on drop.
#[derive(Debug)]
struct StatusSlot {
    slots: Arc<StatusSlots>,
    is_preferred: bool,
    /// Unless it is preferred or slow.
    counted: Option<StatusGuard>,
}

/// One reconcile's slot.
#[derive(Debug)]
pub struct WorkerSlot {
    applying: Option<OwnedSemaphorePermit>,
    slow_writes: Arc<Semaphore>,
    status: Option<StatusSlot>,
    status_slots: Arc<StatusSlots>,
    /// Of the item that uses it; kept also where `running` is given up.
    precedence: Precedence,
    running: Option<PrecedenceGuard>,
}

impl WorkerSlots {
    /// So many that apply at once, and as many that write their status, as far as the gate lets them.
    #[must_use]
    pub fn new(count: usize, lane: Lane, gate: Arc<PrecedenceGate>) -> Self {
        let state = StatusSlotsState { open: count, in_use: 0, preferred: 0, waiting: RoundRobin::default() };
        let status = Arc::new(StatusSlots { state: Mutex::new(state), gate, lane });
        let slow_writes = Arc::new(Semaphore::new(count * SLOW_WRITES_PER_SLOT));
        Self { applying: Arc::new(Semaphore::new(count)), slow_writes, status, count }
    }

    /// A slot among those that apply, as soon as there is one.
    pub async fn acquire(&self) -> WorkerSlot {
        let applying = self.applying.clone().acquire_owned().await.ok();
        WorkerSlot {
            applying,
            slow_writes: self.slow_writes.clone(),
            status: None,
            status_slots: self.status.clone(),
            precedence: Precedence::Normal,
            running: None,
        }
    }

    /// Opens few slots for statuses, or all: `waiting` is how many wait to apply.
    pub fn balance(&self, waiting: usize) {
        let many = waiting >= self.count * MANY_PER_SLOT;
        let few = (self.count * STATUSES_BESIDE_APPLYING / 16).max(1);
        self.status.open(if many { few } else { self.count });
    }
}

impl StatusSlots {
    fn open(self: &Arc<Self>, count: usize) {
        self.state.lock().open = count;
        self.grant();
    }

    /// One at once for one that is preferred, unless too many are.
    fn take_preferred(self: &Arc<Self>) -> Option<StatusSlot> {
        let mut state = self.state.lock();
        (state.preferred < MAX_PREFERRED_STATUSES).then(|| {
            state.preferred += 1;
            StatusSlot { slots: self.clone(), is_preferred: true, counted: None }
        })
    }

    async fn acquire(self: &Arc<Self>, namespace: &str) -> Option<StatusSlot> {
        let (sender, granted) = oneshot::channel();
        self.state.lock().waiting.push(namespace.to_owned(), sender);
        self.grant();
        granted.await.ok()
    }

    /// Gives what is free to those that wait. Whoever they wait for calls this when it ends.
    fn grant(self: &Arc<Self>) {
        loop {
            let (waiting, counted) = {
                let mut state = self.state.lock();
                if state.in_use >= state.open || state.waiting.is_empty() {
                    return;
                }
                let Some(counted) = self.gate.try_begin_status(self.lane) else { return };
                let Some(waiting) = state.waiting.pop() else { return };
                state.in_use += 1;
                (waiting, Some(counted))
            };
            // Where nobody waits any more, the slot that comes back is dropped, which frees it.
            let _ = waiting.send(StatusSlot { slots: self.clone(), is_preferred: false, counted });
        }
    }
}

impl Drop for StatusSlot {
    fn drop(&mut self) {
        {
            let mut state = self.slots.state.lock();
            let count = if self.is_preferred { &mut state.preferred } else { &mut state.in_use };
            *count -= 1;
        }
        self.counted = None;
        self.slots.grant();
    }
}

impl Drop for WorkerSlot {
    fn drop(&mut self) {
        (self.status, self.running) = (None, None);
        self.status_slots.grant();
    }
}

impl WorkerSlot {
    /// An item begins to apply in it.
    pub fn begin(&mut self, precedence: Precedence) {
        self.precedence = precedence;
        self.running = Some(self.status_slots.gate.enter(self.status_slots.lane, precedence));
    }

    /// Of the item that uses it.
    #[must_use]
    pub fn precedence(&self) -> Precedence {
        self.precedence
    }

    /// Runs what writes children or the status; it goes before others for no longer than [`SLOW_WRITE`], and then gives
    /// the slot to apply back, unless too many writes are slow.
    pub async fn while_writing<T>(&mut self, write: impl Future<Output = T>) -> T {
        let mut write = pin!(write);
        if let Ok(written) = tokio::time::timeout(SLOW_WRITE, &mut write).await {
            return written;
        }
        self.running = None;
        if let Some(status) = &mut self.status {
            status.counted = None;
        }
        self.status_slots.grant();
        let _slow = tokio::select! {
            slow = self.slow_writes.acquire(), if self.applying.is_some() => slow,
            written = &mut write => return written,
        };
        self.applying = None;
        write.await
    }

    /// Moves to those that write their status, which frees the slot among those that apply.
    pub async fn move_to_status(&mut self, namespace: &str) {
        if self.status.is_some() {
            return;
        }
        self.applying = None;
        if let Some(running) = &mut self.running {
            running.begin_status();
        }
        if self.precedence == Precedence::Preferred {
            self.status = self.status_slots.take_preferred();
        }
        if self.status.is_none() {
            self.status = self.status_slots.acquire(namespace).await;
        }
    }
}

#[cfg(test)]
#[path = "slots_test.rs"]
mod tests;
