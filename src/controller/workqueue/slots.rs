//! How many reconciles apply children and how many report (status, Events) at once. It knows nothing of what
//! they do.
//!
//! A reconcile writes its children, and then its status, without another one's children in between: what was
//! begun is finished first. A status has a slot of its own, so that no child waits for it. Events have none:
//! see [`crate::cluster::events`].
//!
//! A write that takes long gives its slot back, so that a webhook that hangs keeps no slot.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Children that take longer to be written give their slot to another reconcile, and are still written.
const SLOW_WRITE: Duration = Duration::from_secs(1);

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
    /// So many that apply at once, and as many that report.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let semaphore = || Arc::new(Semaphore::new(count));
        Self { applying: semaphore(), reporting: semaphore() }
    }

    /// The slots of another lane: as many that apply, while those that report are shared.
    #[must_use]
    pub fn another_lane(&self, count: usize) -> Self {
        Self { applying: Arc::new(Semaphore::new(count)), reporting: self.reporting.clone() }
    }

    /// A slot among those that apply, as soon as there is one.
    pub async fn acquire_apply(&self) -> WorkerSlot {
        let applying = self.applying.clone().acquire_owned().await.ok();
        WorkerSlot { applying, reporting: None, slots: self.clone() }
    }
}

impl WorkerSlot {
    /// Runs what applies; it keeps the slot for no longer than [`SLOW_WRITE`].
    pub async fn while_applying<T>(&mut self, apply: impl Future<Output = T>) -> T {
        let mut apply = std::pin::pin!(apply);
        if let Ok(applied) = tokio::time::timeout(SLOW_WRITE, &mut apply).await {
            return applied;
        }
        self.applying = None;
        apply.await
    }

    /// Moves to those that report, which frees the slot among those that apply.
    pub async fn move_to_reporting(&mut self) {
        if self.reporting.is_none() {
            self.applying = None;
            self.reporting = self.slots.reporting.clone().acquire_owned().await.ok();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    async fn in_time<T>(future: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(Duration::from_millis(20), future).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn reporting_frees_a_slot_for_applying() {
        let slots = WorkerSlots::new(1);
        let mut first = slots.acquire_apply().await;
        assert!(in_time(slots.acquire_apply()).await.is_none(), "all slots are taken");
        first.move_to_reporting().await;
        let mut second = in_time(slots.acquire_apply()).await.unwrap();
        assert!(in_time(second.move_to_reporting()).await.is_none(), "as many report as apply");
        drop(first);
        assert!(in_time(second.move_to_reporting()).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_hangs_keeps_no_slot() {
        let slots = WorkerSlots::new(1);
        let mut first = slots.acquire_apply().await;
        let hangs = first.while_applying(tokio::time::sleep(SLOW_WRITE * 10));
        let other = async {
            let started = tokio::time::Instant::now();
            let _second = slots.acquire_apply().await;
            started.elapsed()
        };
        let ((), waited) = tokio::join!(hangs, other);
        assert!(waited >= SLOW_WRITE && waited < SLOW_WRITE * 2, "{waited:?}");
    }
}
