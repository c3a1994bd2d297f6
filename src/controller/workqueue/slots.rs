//! How many reconciles apply children and how many report (status, Events) at once. It knows nothing of what
//! they do.
//!
//! Children go first: while reconciles wait to apply theirs, few of those that did may write their statuses. When
//! none waits, as many report as apply. Events have no slot: see [`crate::cluster::events`].
//!
//! A write that takes long gives its slot back, so that a webhook that hangs keeps no slot.

use std::{pin::pin, sync::Arc, time::Duration};

use futures::FutureExt;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Children that take longer to be written give their slot to another reconcile, and are still written.
const SLOW_WRITE: Duration = Duration::from_secs(1);

/// While children wait, so many of 16 slots are for those that report.
const REPORTING_BESIDE_APPLYING: usize = 5;

/// The slots of one lane.
#[derive(Debug)]
pub struct WorkerSlots {
    applying: Arc<Semaphore>,
    reporting: Arc<ReportingSlots>,
    max_reserve: usize,
}

/// The slots of those that report.
#[derive(Debug)]
struct ReportingSlots {
    free: Arc<Semaphore>,
    reserve: Mutex<Reserve>,
}

/// Slots that are kept from those that report, while children wait.
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
        Self { applying: semaphore(), reporting: Arc::new(reporting), max_reserve }
    }

    /// The next item that is due, with a slot to apply its children.
    pub async fn acquire_with<T>(&self, next: impl Future<Output = T>) -> (WorkerSlot, T) {
        let applying = self.applying.clone().acquire_owned().await.ok();
        let mut next = pin!(next);
        let item = if let Some(item) = (&mut next).now_or_never() {
            self.reporting.keep(self.max_reserve);
            item
        } else {
            self.reporting.keep(0);
            next.await
        };
        (WorkerSlot { applying, reporting: None, all_reporting: self.reporting.clone() }, item)
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
    use std::future::{pending, ready};

    use super::*;

    async fn in_time<T>(future: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(Duration::from_millis(20), future).await.ok()
    }

    async fn next(slots: &WorkerSlots) -> Option<WorkerSlot> {
        in_time(slots.acquire_with(ready(()))).await.map(|(slot, ())| slot)
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
    async fn few_report_while_others_wait_to_apply_and_as_many_when_none_does() {
        let slots = WorkerSlots::new(16);
        let report = async |mut slot: WorkerSlot| in_time(slot.move_to_reporting()).await.map(|()| slot);
        let mut reporting = Vec::new();
        while let Some(slot) = report(next(&slots).await.unwrap()).await {
            reporting.push(slot);
        }
        assert_eq!(reporting.len(), REPORTING_BESIDE_APPLYING);

        let mut waiting: Vec<WorkerSlot> = Vec::new();
        for _ in 0..16 {
            waiting.push(next(&slots).await.unwrap());
        }
        let nothing_due = slots.acquire_with(pending::<()>());
        assert!(in_time(async { tokio::join!(nothing_due) }).await.is_none(), "all apply");
        let mut waiting = waiting.into_iter();
        drop(waiting.next());
        assert!(in_time(slots.acquire_with(pending::<()>())).await.is_none(), "nothing is due");
        for slot in waiting.by_ref().take(16 - REPORTING_BESIDE_APPLYING) {
            reporting.push(report(slot).await.unwrap());
        }

        let late = next(&slots).await.unwrap();
        let last = waiting.next().unwrap();
        reporting.truncate(REPORTING_BESIDE_APPLYING);
        assert!(report(last).await.is_none(), "what is given back is kept again");
        drop((late, reporting));
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_hangs_keeps_no_slot() {
        let slots = WorkerSlots::new(1);
        let mut first = next(&slots).await.unwrap();
        let hangs = first.while_applying(tokio::time::sleep(SLOW_WRITE * 10));
        let other = async {
            let started = tokio::time::Instant::now();
            let _second = slots.acquire_with(ready(())).await;
            started.elapsed()
        };
        let ((), waited) = tokio::join!(hangs, other);
        assert!(waited >= SLOW_WRITE && waited < SLOW_WRITE * 2, "{waited:?}");
    }
}
