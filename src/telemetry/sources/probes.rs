//! What others let telemetry ask at collection: the queues, the leader, the objects. It creates no instrument,
//! and a probe that panics has no answer.

use std::{
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
    /// Keys that wait.
    pub depth: u64,
    /// Sum of the ages of what is being worked on.
    pub unfinished: Duration,
    /// Age of the longest of them.
    pub longest: Duration,
}

/// The state of Elpio's objects at collection, from the watch cache.
#[derive(Clone, Debug, Default)]
pub struct ResourceCounts {
    /// `ElpioService` objects that are ready.
    pub services_ready: u64,
    /// Objects by kind, readiness and reason; a state that is not there has none.
    pub by_state: Vec<(Kind, ReadyValue, StateReason, u64)>,
    /// By kind: age of the oldest object whose generation is not yet observed.
    pub unsettled_age: Vec<(Kind, Duration)>,
}

impl ResourceCounts {
    /// The counts with what follows from them.
    #[must_use]
    pub fn new(
        by_state: Vec<(Kind, ReadyValue, StateReason, u64)>,
        unsettled_age: Vec<(Kind, Duration)>,
    ) -> Self {
        let is_ready =
            |kind: Kind, ready: ReadyValue| (kind, ready) == (Kind::ElpioService, ReadyValue::True);
        let ready = by_state.iter().filter(|(kind, ready, ..)| is_ready(*kind, *ready));
        let services_ready = ready.map(|(.., count)| count).sum();
        Self { services_ready, by_state, unsettled_age }
    }

    pub(in crate::telemetry) fn in_state(&self, kind: Kind, ready: ReadyValue, reason: StateReason) -> u64 {
        let of_state = self.by_state.iter().filter(|(k, r, why, _)| (*k, *r, *why) == (kind, ready, reason));
        of_state.map(|(.., count)| count).sum()
    }

    pub(in crate::telemetry) fn unsettled_age(&self, kind: Kind) -> Duration {
        self.unsettled_age.iter().find(|(k, _)| *k == kind).map_or(Duration::ZERO, |(_, age)| *age)
    }
}

type Probe<T> = Arc<dyn Fn() -> T + Send + Sync>;

/// How many watches are refused, by namespace.
pub type RefusedWatches = Vec<(String, u64)>;

/// What others let us ask at collection.
#[derive(Default)]
pub(in crate::telemetry) struct Probes {
    queues: Mutex<Vec<(Kind, Probe<QueueStats>)>>,
    leader: Mutex<Option<Probe<bool>>>,
    workers: Mutex<Vec<(Kind, u64)>>,
    refused_watches: Mutex<Option<Probe<RefusedWatches>>>,
    resources: Mutex<Option<Probe<Option<ResourceCounts>>>>,
    /// This process has led: what it pushed as the leader has to be taken back.
    has_led: AtomicBool,
}

/// Asks; a panic in a callback would end the thread that pushes metrics for good.
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

    /// The counts of the leader. After this process has led they are empty and not `None`: pushed, the last
    /// value of a series that ends stays for minutes, and would be added to the next leader's.
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
