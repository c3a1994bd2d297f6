//! The probes that other layers register for collection: queues, leadership, objects. It creates no
//! instruments, and ignores a probe that panics.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use crate::telemetry::catalog::attributes::{Kind, ReadyValue, StateReason};

/// The state of a work queue at collection.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueueStats {
    /// The number of waiting keys.
    pub depth: u64,
    /// The total time of the work in progress.
    pub unfinished: Duration,
    /// The time of the longest work in progress.
    pub longest: Duration,
}

/// The objects of one kind at collection, from the store.
#[derive(Clone, Debug)]
pub struct KindCounts {
    /// The kind.
    pub kind: Kind,
    /// The number of objects by readiness and reason; missing states have none.
    pub by_state: BTreeMap<(ReadyValue, StateReason), u64>,
    /// The age of the oldest generation that is not yet observed.
    pub unsettled_age: Duration,
}

/// The state of Elpio's objects at collection.
#[derive(Clone, Debug, Default)]
pub struct ResourceCounts(pub Vec<KindCounts>);

impl ResourceCounts {
    fn of_kind(&self, kind: Kind) -> Option<&KindCounts> {
        self.0.iter().find(|counts| counts.kind == kind)
    }

    /// How many `ElpioService` objects are ready.
    pub(in crate::telemetry) fn services_ready(&self) -> u64 {
        let states = self.of_kind(Kind::ElpioService).into_iter().flat_map(|counts| &counts.by_state);
        states.filter(|((ready, _), _)| *ready == ReadyValue::True).map(|(_, count)| count).sum()
    }

    pub(in crate::telemetry) fn in_state(&self, kind: Kind, ready: ReadyValue, reason: StateReason) -> u64 {
        self.of_kind(kind).and_then(|counts| counts.by_state.get(&(ready, reason))).copied().unwrap_or(0)
    }

    pub(in crate::telemetry) fn unsettled_age(&self, kind: Kind) -> Duration {
        self.of_kind(kind).map_or(Duration::ZERO, |counts| counts.unsettled_age)
    }
}

type Probe<T> = Arc<dyn Fn() -> T + Send + Sync>;

/// The number of refused watches by namespace.
pub type RefusedWatches = Vec<(String, u64)>;

/// The registered probes.
#[derive(Default)]
pub(in crate::telemetry) struct Probes {
    queues: Mutex<Vec<(Kind, Probe<QueueStats>)>>,
    leader: Mutex<Option<Probe<bool>>>,
    workers: Mutex<Vec<(Kind, u64)>>,
    refused_watches: Mutex<Option<Probe<RefusedWatches>>>,
    resources: Mutex<Option<Probe<Option<ResourceCounts>>>>,
    /// This process has led: the values that it pushed as the leader must be cleared.
    has_led: AtomicBool,
}

/// Runs a probe. A panic in a callback would end the thread that pushes metrics.
fn call_probe<T>(probe: &Probe<T>) -> Option<T> {
    catch_unwind(AssertUnwindSafe(|| probe())).ok()
}

impl Probes {
    pub(in crate::telemetry) fn set_queue(&self, kind: Kind, probe: Probe<QueueStats>) {
        let mut queues = self.queues.lock();
        queues.retain(|(other, _)| *other != kind);
        queues.push((kind, probe));
    }

    pub(in crate::telemetry) fn set_workers(&self, kind: Kind, workers: u64) {
        let mut all = self.workers.lock();
        all.retain(|(other, _)| *other != kind);
        all.push((kind, workers));
    }

    pub(in crate::telemetry) fn workers(&self) -> Vec<(Kind, u64)> {
        self.workers.lock().clone()
    }

    pub(in crate::telemetry) fn set_leader(&self, probe: Probe<bool>) {
        *self.leader.lock() = Some(probe);
    }

    pub(in crate::telemetry) fn set_refused_watches(&self, probe: Probe<RefusedWatches>) {
        *self.refused_watches.lock() = Some(probe);
    }

    pub(in crate::telemetry) fn refused_watches(&self) -> RefusedWatches {
        let probe = self.refused_watches.lock().clone();
        probe.and_then(|probe| call_probe(&probe)).unwrap_or_default()
    }

    pub(in crate::telemetry) fn set_resources(&self, probe: Probe<Option<ResourceCounts>>) {
        *self.resources.lock() = Some(probe);
    }

    // The lock is not held while a probe is asked: it may take locks of its own.
    pub(in crate::telemetry) fn each_queue(&self, mut f: impl FnMut(Kind, QueueStats)) {
        let queues = self.queues.lock().clone();
        for (kind, probe) in queues {
            if let Some(found) = call_probe(&probe) {
                f(kind, found);
            }
        }
    }

    pub(in crate::telemetry) fn is_leader(&self) -> Option<bool> {
        let probe = self.leader.lock().clone();
        probe.and_then(|probe| call_probe(&probe))
    }

    /// The leader's counts. Once this process has led, they are empty rather than `None`: a pushed series
    /// that ends would keep its last value for minutes, and would add to the next leader's.
    pub(in crate::telemetry) fn counts(&self) -> Option<ResourceCounts> {
        let probe = self.resources.lock().clone();
        match call_probe(&probe?)? {
            Some(counts) => {
                self.has_led.store(true, Ordering::Relaxed);
                Some(counts)
            }
            None => self.has_led.load(Ordering::Relaxed).then(ResourceCounts::default),
        }
    }
}
