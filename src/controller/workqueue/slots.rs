//! How many reconciles are at which of their two halves: what was asked for is written before what there is
//! to tell about it.
//!
//! When many objects come at once, the API server is what they wait for. Children first means that everything
//! asked for is there soonest; Events and statuses follow with seats of their own.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The seats of one kind.
#[derive(Clone, Debug)]
pub struct WorkerSlots {
    acquire_apply: Arc<Semaphore>,
    telling: Arc<Semaphore>,
}

/// One reconcile's seat.
#[derive(Debug)]
pub struct WorkerSlot {
    writing: Option<OwnedSemaphorePermit>,
    telling: Option<OwnedSemaphorePermit>,
    slots: WorkerSlots,
}

impl WorkerSlots {
    /// So many that write children at once, and half as many that tell of it.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self {
            acquire_apply: Arc::new(Semaphore::new(count)),
            telling: Arc::new(Semaphore::new(count.div_ceil(2))),
        }
    }

    /// A seat among those that write, as soon as there is one.
    pub async fn acquire_apply(&self) -> WorkerSlot {
        WorkerSlot {
            writing: self.acquire_apply.clone().acquire_owned().await.ok(),
            telling: None,
            slots: self.clone(),
        }
    }
}

impl WorkerSlot {
    /// Moves to those that tell; the seat among those that write is another's.
    pub async fn move_to_reporting(&mut self) {
        if self.telling.is_none() {
            self.writing = None;
            self.telling = self.slots.telling.clone().acquire_owned().await.ok();
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

    #[tokio::test]
    async fn who_tells_makes_room_for_another_who_writes() {
        let slots = WorkerSlots::new(2);
        let (mut first, mut second) = (slots.acquire_apply().await, slots.acquire_apply().await);
        assert!(in_time(slots.acquire_apply()).await.is_none(), "all seats are taken");
        first.move_to_reporting().await;
        let third = in_time(slots.acquire_apply()).await;
        assert!(third.is_some(), "there is room");
        assert!(in_time(second.move_to_reporting()).await.is_none(), "half as many tell");
        drop(first);
        assert!(in_time(second.move_to_reporting()).await.is_some());
    }
}
