//! How many reconciles apply children, and how many report (write their status), at once. It knows nothing of what
//! they do.
//!
//! As many report as apply, so that a status is there soon after its children. Where many reconciles wait to apply,
//! their children go first: few may report then. Namespaces take turns. Events have no slot: see
//! [`crate::cluster::events`].
//!
//! A child's write that takes long gives its slot back, so that an engine's webhook that hangs keeps no slot.

use std::{pin::pin, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::controller::workqueue::{
    lane::Lane,
    precedence::{Precedence, PrecedenceGate, PrecedenceGuard},
    round_robin::RoundRobin,
};

/// Children that take longer to be written give their slot to another reconcile, and are still written.
const SLOW_WRITE: Duration = Duration::from_secs(1);

/// Where so many reconciles wait for each slot, their children go first.
const MANY_PER_SLOT: usize = 16;

/// Then so many of 16 slots are for those that report.
const REPORTING_BESIDE_APPLYING: usize = 5;

/// One that is preferred waits for no slot while fewer are in use.
const MAX_REPORTING_PREFERRED: usize = 64;

/// The slots of one lane.
#[derive(Debug)]
pub struct WorkerSlots {
    applying: Arc<Semaphore>,
    reporting: Arc<ReportingSlots>,
    lane: Lane,
    count: usize,
}

/// The slots of those that report.
#[derive(Debug)]
struct ReportingSlots {
    state: Mutex<ReportingState>,
    gate: Arc<PrecedenceGate>,
}

#[derive(Debug)]
struct ReportingState {
    open: usize,
    in_use: usize,
    /// In use by those that are preferred.
    preferred: usize,
    waiting: RoundRobin<oneshot::Sender<ReportingSlot>>,
}

/// A slot of one that reports; free again on drop.
#[derive(Debug)]
struct ReportingSlot {
    slots: Arc<ReportingSlots>,
    is_preferred: bool,
}

/// One reconcile's slot.
#[derive(Debug)]
pub struct WorkerSlot {
    applying: Option<OwnedSemaphorePermit>,
    reporting: Option<ReportingSlot>,
    all_reporting: Arc<ReportingSlots>,
    lane: Lane,
    /// Of the item that uses it; kept also where `running` is given up.
    precedence: Precedence,
    running: Option<PrecedenceGuard>,
}

impl WorkerSlots {
    /// So many that apply at once, and as many that report, as far as the gate lets them.
    #[must_use]
    pub fn new(count: usize, lane: Lane, gate: Arc<PrecedenceGate>) -> Self {
        let state = ReportingState { open: count, in_use: 0, preferred: 0, waiting: RoundRobin::default() };
        let reporting = Arc::new(ReportingSlots { state: Mutex::new(state), gate });
        Self { applying: Arc::new(Semaphore::new(count)), reporting, lane, count }
    }

    /// A slot among those that apply, as soon as there is one.
    pub async fn acquire(&self) -> WorkerSlot {
        let applying = self.applying.clone().acquire_owned().await.ok();
        WorkerSlot {
            applying,
            reporting: None,
            all_reporting: self.reporting.clone(),
            lane: self.lane,
            precedence: Precedence::Normal,
            running: None,
        }
    }

    /// Opens few slots for those that report, or all: `waiting` is how many wait to apply.
    pub fn balance(&self, waiting: usize) {
        let many = waiting >= self.count * MANY_PER_SLOT;
        let few = (self.count * REPORTING_BESIDE_APPLYING / 16).max(1);
        self.reporting.open(if many { few } else { self.count });
    }
}

impl ReportingSlots {
    fn open(self: &Arc<Self>, count: usize) {
        self.state.lock().open = count;
        self.grant();
    }

    /// One at once for one that is preferred, if fewer than so many are in use.
    fn take_below(self: &Arc<Self>, limit: usize) -> Option<ReportingSlot> {
        let mut state = self.state.lock();
        (state.in_use < limit).then(|| {
            (state.in_use, state.preferred) = (state.in_use + 1, state.preferred + 1);
            ReportingSlot { slots: self.clone(), is_preferred: true }
        })
    }

    async fn acquire(self: &Arc<Self>, namespace: &str) -> Option<ReportingSlot> {
        let (sender, granted) = oneshot::channel();
        self.state.lock().waiting.push(namespace.to_owned(), sender);
        self.grant();
        granted.await.ok()
    }

    /// Gives what is free to those that wait. At least one is in use while one waits: it calls this when it ends.
    fn grant(self: &Arc<Self>) {
        loop {
            let waiting = {
                let mut state = self.state.lock();
                let others = state.in_use - state.preferred;
                if state.in_use >= state.open || self.gate.report_limit().is_some_and(|few| others >= few) {
                    return;
                }
                let Some(waiting) = state.waiting.pop() else { return };
                state.in_use += 1;
                waiting
            };
            // Where nobody waits any more, the slot that comes back is dropped, which frees it.
            let _ = waiting.send(ReportingSlot { slots: self.clone(), is_preferred: false });
        }
    }
}

impl Drop for ReportingSlot {
    fn drop(&mut self) {
        {
            let mut state = self.slots.state.lock();
            state.in_use -= 1;
            state.preferred -= usize::from(self.is_preferred);
        }
        self.slots.grant();
    }
}

impl WorkerSlot {
    /// An item begins to apply in it.
    pub fn begin(&mut self, precedence: Precedence) {
        self.precedence = precedence;
        self.running = Some(self.all_reporting.gate.enter(self.lane, precedence));
    }

    /// Runs what applies; it keeps the slot for no longer than [`SLOW_WRITE`].
    pub async fn while_applying<T>(&mut self, apply: impl Future<Output = T>) -> T {
        let mut apply = pin!(apply);
        if let Ok(applied) = tokio::time::timeout(SLOW_WRITE, &mut apply).await {
            return applied;
        }
        (self.applying, self.running) = (None, None);
        apply.await
    }

    /// Moves to those that report, which frees the slot among those that apply.
    pub async fn move_to_reporting(&mut self, namespace: &str) {
        if self.reporting.is_some() {
            return;
        }
        self.applying = None;
        if let Some(running) = &mut self.running {
            running.begin_to_report();
        }
        if self.precedence == Precedence::Preferred {
            self.reporting = self.all_reporting.take_below(MAX_REPORTING_PREFERRED);
        }
        if self.reporting.is_none() {
            self.reporting = self.all_reporting.acquire(namespace).await;
        }
    }
}

#[cfg(test)]
#[path = "slots_test.rs"]
mod tests;
