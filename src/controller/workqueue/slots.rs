//! The slot of one reconcile: what it writes, and when a slow write releases it. It knows no objects.
//!
//! `shared_slots.rs` decides how many slots there are and who is next. Events need no slot: see
//! [`crate::cluster::events`].
//!
//! A slow write releases its slot, so that a hanging webhook of an engine blocks no slot. The number of slow writes
//! is bounded, since each occupies a seat at the API server that another engine's write may need.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::controller::workqueue::{
    lane::Lane,
    precedence::{Precedence, PrecedenceGate, PrecedenceGuard},
    shared_slots::{ApplySlot, SharedSlots, StatusSlot},
};

pub use crate::controller::workqueue::split::Load;

/// A write of children or of a status that takes longer continues without its slot, which goes to another
/// reconcile. A slow status write also loses its precedence.
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
    /// The precedence of the item that uses the slot; kept when `running` is dropped.
    precedence: Precedence,
    running: Option<PrecedenceGuard>,
}

impl WorkerSlots {
    /// `count` slots, used as far as the gate allows.
    #[must_use]
    pub fn new(count: usize, lane: Lane, gate: Arc<PrecedenceGate>) -> Self {
        Self { shared: Arc::new(SharedSlots::new(count, lane, gate)) }
    }

    /// Waits for a slot for applying. Only one caller may wait at a time.
    pub async fn acquire(&self) -> WorkerSlot {
        WorkerSlot {
            applying: self.shared.acquire_to_apply().await,
            status: None,
            slots: self.shared.clone(),
            precedence: Precedence::Normal,
            running: None,
        }
    }

    /// No reconcile will acquire a slot for a while: statuses may use all slots.
    pub fn set_idle(&self) {
        self.shared.set_idle();
    }

    /// Chooses between children first and children in step with statuses.
    pub fn balance(&self, load: Load) {
        self.shared.balance(load);
    }
}

impl Drop for WorkerSlot {
    fn drop(&mut self) {
        (self.status, self.running) = (None, None);
        self.slots.grant();
    }
}

impl WorkerSlot {
    /// Releases the slot to statuses until there is an item.
    pub fn wait_for_item(&mut self) {
        self.applying = None;
        self.slots.set_idle();
    }

    /// Begins to apply an item in this slot.
    pub fn begin(&mut self, precedence: Precedence) {
        self.applying.get_or_insert_with(|| self.slots.take_to_apply());
        self.precedence = precedence;
        self.running = Some(self.slots.enter(precedence));
    }

    /// The precedence of the item that uses the slot.
    #[must_use]
    pub fn precedence(&self) -> Precedence {
        self.precedence
    }

    /// Runs a write of children or of the status. After [`SLOW_WRITE`] the write loses its precedence and releases
    /// the slot, unless too many children's writes are slow.
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

    /// Releases the slot for applying and waits for one to write the status.
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
