//! How many reconciles write, and whether that is children or a status. It knows nothing of what they write.
//!
//! Whose turn it is: `shared_slots.rs`. Events have no slot: see [`crate::cluster::events`].
//!
//! A write that takes long gives its slot back, so that an engine's webhook that hangs keeps no slot. As each of them
//! takes a seat at the API server, from which other engines' writes would have to wait, their number is bounded.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::controller::workqueue::{
    lane::Lane,
    precedence::{Precedence, PrecedenceGate, PrecedenceGuard},
    shared_slots::{ApplySlot, SharedSlots, StatusSlot},
};

/// Children that take longer to be written give their slot to another reconcile, and are still written. So does a
/// status, which then no longer goes before others either.
const SLOW_WRITE: Duration = Duration::from_secs(1);

/// The slots of one lane.
#[derive(Debug)]
pub struct WorkerSlots {
    shared: Arc<SharedSlots>,
}

/// One reconcile's slot.
#[derive(Debug)]
pub struct WorkerSlot {
    applying: Option<ApplySlot>,
    status: Option<StatusSlot>,
    slots: Arc<SharedSlots>,
    /// Of the item that uses it; kept also where `running` is given up.
    precedence: Precedence,
    running: Option<PrecedenceGuard>,
}

impl WorkerSlots {
    /// So many, as far as the gate lets them be used.
    #[must_use]
    pub fn new(count: usize, lane: Lane, gate: Arc<PrecedenceGate>) -> Self {
        Self { shared: Arc::new(SharedSlots::new(count, lane, gate)) }
    }

    /// A slot for one that applies, as soon as there is one. One caller at a time.
    pub async fn acquire(&self) -> WorkerSlot {
        WorkerSlot {
            applying: self.shared.acquire_to_apply().await,
            status: None,
            slots: self.shared.clone(),
            precedence: Precedence::Normal,
            running: None,
        }
    }

    /// Nobody acquires a slot for a while: statuses may use all.
    pub fn set_idle(&self) {
        self.shared.set_idle();
    }

    /// Lets children go first, or in step with statuses: `waiting` is how many wait to apply.
    pub fn balance(&self, waiting: usize) {
        self.shared.balance(waiting);
    }
}

impl Drop for WorkerSlot {
    fn drop(&mut self) {
        (self.status, self.running) = (None, None);
        self.slots.grant();
    }
}

impl WorkerSlot {
    /// There is no item yet: statuses may use it until one begins.
    pub fn wait_for_item(&mut self) {
        self.applying = None;
        self.slots.set_idle();
    }

    /// An item begins to apply in it.
    pub fn begin(&mut self, precedence: Precedence) {
        self.applying.get_or_insert_with(|| self.slots.take_to_apply());
        self.precedence = precedence;
        self.running = Some(self.slots.enter(precedence));
    }

    /// Of the item that uses it.
    #[must_use]
    pub fn precedence(&self) -> Precedence {
        self.precedence
    }

    /// Runs what writes children or the status; it goes before others for no longer than [`SLOW_WRITE`], and then gives
    /// the slot back, unless too many children's writes are slow.
    pub async fn while_writing<T>(&mut self, write: impl Future<Output = T>) -> T {
        let (mut write, started) = (pin!(write), Instant::now());
        if let Ok(written) = tokio::time::timeout(SLOW_WRITE, &mut write).await {
            self.slots.pause(self.precedence, started.elapsed()).await;
            return written;
        }
        self.running = None;
        if let Some(status) = &mut self.status {
            status.give_up();
        }
        self.slots.grant();
        let _slow = tokio::select! {
            slow = self.slots.slow_writes.acquire(), if self.applying.is_some() => slow,
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
            self.status = self.slots.take_preferred();
        }
        if self.status.is_none() {
            self.status = self.slots.acquire_for_status(namespace).await;
        }
    }
}

#[cfg(test)]
#[path = "slots_test.rs"]
mod tests;
