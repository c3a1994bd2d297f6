//! How many reconciles apply children and how many report (status, Events) at once. It knows nothing of what
//! they do.
//!
//! As many report as apply, so that a status is there soon after its children. Where many reconciles wait to apply,
//! their children go first: few may report then. Events have no slot: see [`crate::cluster::events`].
//!
//! A write that takes long gives its slot back, so that a webhook that hangs keeps no slot.

use std::{pin::pin, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Children that take longer to be written give their slot to another reconcile, and are still written.
const SLOW_WRITE: Duration = Duration::from_secs(1);

/// Where so many reconciles wait for each slot, their children go first.
const MANY_PER_SLOT: usize = 16;

/// Then so many of 16 slots are for those that report.
const REPORTING_BESIDE_APPLYING: usize = 4;

/// The slots of one lane.
#[derive(Debug)]
pub struct WorkerSlots {
    applying: Arc<Semaphore>,
    reporting: Arc<ReportingSlots>,
    count: usize,
    max_reserve: usize,
}

/// The slots of those that report.
#[derive(Debug)]
struct ReportingSlots {
    free: Arc<Semaphore>,
    reserve: Mutex<Reserve>,
}

/// Slots that are kept from those that report.
#[derive(Debug, Default)]
struct Reserve {
    kept: Vec<OwnedSemaphorePermit>,
    wanted: usize,
}

/// One reconcile's slot.
#[derive(Debug)]
pub struct WorkerSlot {
    applying: Option<OwnedSemaphorePermit>,
    reporting: Option<OwnedSemaphorePermit>,
    all_reporting: Arc<ReportingSlots>,
}

impl WorkerSlots {
    /// So many that apply at once, and as many that report.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let semaphore = || Arc::new(Semaphore::new(count));
        let beside_applying = (count * REPORTING_BESIDE_APPLYING / 16).max(1);
        let max_reserve = count - beside_applying;
        let reporting = ReportingSlots { free: semaphore(), reserve: Mutex::default() };
        Self { applying: semaphore(), reporting: Arc::new(reporting), count, max_reserve }
    }

    /// A slot among those that apply, as soon as there is one.
    pub async fn acquire(&self) -> WorkerSlot {
        let applying = self.applying.clone().acquire_owned().await.ok();
        WorkerSlot { applying, reporting: None, all_reporting: self.reporting.clone() }
    }

    /// Keeps slots from those that report, or opens them again: so many wait to apply.
    pub fn balance(&self, waiting: usize) {
        let many = waiting >= self.count * MANY_PER_SLOT;
        self.reporting.keep(if many { self.max_reserve } else { 0 });
    }
}

impl ReportingSlots {
    /// Keeps so many slots, as soon as they are free.
    fn keep(&self, wanted: usize) {
        let mut reserve = self.reserve.lock();
        reserve.wanted = wanted;
        reserve.kept.truncate(wanted);
        while reserve.kept.len() < wanted {
            let Ok(permit) = self.free.clone().try_acquire_owned() else { return };
            reserve.kept.push(permit);
        }
    }

    /// A slot that is free again goes to the reserve first.
    fn give_back(&self, permit: OwnedSemaphorePermit) {
        let mut reserve = self.reserve.lock();
        if reserve.kept.len() < reserve.wanted {
            reserve.kept.push(permit);
        }
    }
}

impl WorkerSlot {
    /// Runs what applies; it keeps the slot for no longer than [`SLOW_WRITE`].
    pub async fn while_applying<T>(&mut self, apply: impl Future<Output = T>) -> T {
        let mut apply = pin!(apply);
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
            self.reporting = self.all_reporting.free.clone().acquire_owned().await.ok();
        }
    }
}

impl Drop for WorkerSlot {
    fn drop(&mut self) {
        if let Some(permit) = self.reporting.take() {
            self.all_reporting.give_back(permit);
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

    async fn next(slots: &WorkerSlots) -> Option<WorkerSlot> {
        in_time(slots.acquire()).await
    }

    /// Whether it has its slot among those that report, soon.
    async fn report(mut slot: WorkerSlot) -> Option<WorkerSlot> {
        in_time(slot.move_to_reporting()).await.map(|()| slot)
    }

    #[tokio::test(start_paused = true)]
    async fn reporting_frees_a_slot_for_applying() {
        let slots = WorkerSlots::new(1);
        let mut first = next(&slots).await.unwrap();
        assert!(next(&slots).await.is_none(), "all slots are taken");
        first.move_to_reporting().await;
        let mut second = next(&slots).await.unwrap();
        assert!(in_time(second.move_to_reporting()).await.is_none(), "as many report as apply");
        drop(first);
        assert!(in_time(second.move_to_reporting()).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn few_report_while_many_wait_to_apply() {
        let slots = WorkerSlots::new(16);
        let report_all = async |reporting: &mut Vec<WorkerSlot>| {
            while let Some(slot) = report(next(&slots).await.unwrap()).await {
                reporting.push(slot);
            }
            reporting.len()
        };
        let mut reporting = Vec::new();
        slots.balance(16 * MANY_PER_SLOT);
        assert_eq!(report_all(&mut reporting).await, REPORTING_BESIDE_APPLYING);
        slots.balance(16 * MANY_PER_SLOT - 1);
        assert_eq!(report_all(&mut reporting).await, 16);
        slots.balance(16 * MANY_PER_SLOT);
        reporting.truncate(REPORTING_BESIDE_APPLYING);
        assert_eq!(report_all(&mut reporting).await, REPORTING_BESIDE_APPLYING, "what is free again is kept");
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_hangs_keeps_no_slot() {
        let slots = WorkerSlots::new(1);
        let mut first = next(&slots).await.unwrap();
        let hangs = first.while_applying(tokio::time::sleep(SLOW_WRITE * 10));
        let other = async {
            let started = tokio::time::Instant::now();
            let _second = slots.acquire().await;
            started.elapsed()
        };
        let ((), waited) = tokio::join!(hangs, other);
        assert!(waited >= SLOW_WRITE && waited < SLOW_WRITE * 2, "{waited:?}");
    }
}
