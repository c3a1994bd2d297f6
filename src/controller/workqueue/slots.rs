//! How many reconciles apply children and how many report (status, Events) at once. It knows nothing of what
//! they do.
//!
//! When many objects come at once they all wait for the API server. Children first means that everything that
//! is desired is there soonest; statuses and Events follow with slots of their own.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The slots of one kind.
#[derive(Clone, Debug)]
pub struct WorkerSlots {
    applying: Arc<Semaphore>,
    reporting: Arc<Semaphore>,
}

/// One reconcile's slot.
#[derive(Debug)]
pub struct WorkerSlot {
    applying: Option<OwnedSemaphorePermit>,
    reporting: Option<OwnedSemaphorePermit>,
    slots: WorkerSlots,
}

impl WorkerSlots {
    /// So many that apply at once, and half as many that report.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let reporting = Arc::new(Semaphore::new(count.div_ceil(2)));
        Self { applying: Arc::new(Semaphore::new(count)), reporting }
    }

    /// A slot among those that apply, as soon as there is one.
    pub async fn acquire_apply(&self) -> WorkerSlot {
        let applying = self.applying.clone().acquire_owned().await.ok();
        WorkerSlot { applying, reporting: None, slots: self.clone() }
    }
}

impl WorkerSlot {
    /// Moves to those that report, which frees the slot among those that apply.
    pub async fn move_to_reporting(&mut self) {
        if self.reporting.is_none() {
            self.applying = None;
            self.reporting = self.slots.reporting.clone().acquire_owned().await.ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn in_time<T>(future: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(Duration::from_millis(20), future).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn reporting_frees_a_slot_for_applying() {
        let slots = WorkerSlots::new(2);
        let (mut first, mut second) = (slots.acquire_apply().await, slots.acquire_apply().await);
        assert!(in_time(slots.acquire_apply()).await.is_none(), "all slots are taken");
        first.move_to_reporting().await;
        let third = in_time(slots.acquire_apply()).await;
        assert!(third.is_some(), "one is free");
        assert!(in_time(second.move_to_reporting()).await.is_none(), "half as many report");
        drop(first);
        assert!(in_time(second.move_to_reporting()).await.is_some());
    }
}
