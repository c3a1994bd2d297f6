//! The instruments that are read at collection, and the probes that they read; a probe that panics gives no
//! series.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use opentelemetry::metrics::Meter;

use crate::telemetry::{
    catalog::{
        attributes::{Kind, Signal},
        instruments as table,
    },
    config::Identity,
    metrics::{
        QueueStats, ResourceCounts,
        faded::Faded,
        typed::{Observer, observe_level, observe_seconds, observe_whole},
    },
    sources::{export_stats::ExportStats, process, watch_activity::WatchActivity},
};

type Probe<T> = Arc<dyn Fn() -> T + Send + Sync>;

/// What others let us ask at collection.
#[derive(Default)]
pub(in crate::telemetry) struct Probes {
    queues: Mutex<Vec<(Kind, Probe<QueueStats>)>>,
    leader: Mutex<Option<Probe<bool>>>,
    resources: Mutex<Option<Probe<Option<ResourceCounts>>>>,
}

/// Asks; a panic in a callback would end the thread that pushes metrics for good.
fn call_probe<T>(probe: &Probe<T>) -> Option<T> {
    catch_unwind(AssertUnwindSafe(|| probe())).ok()
}

impl Probes {
    pub(in crate::telemetry) fn set_queue(&self, kind: Kind, probe: Probe<QueueStats>) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.retain(|(other, _)| *other != kind);
        queues.push((kind, probe));
    }

    pub(in crate::telemetry) fn set_leader(&self, probe: Probe<bool>) {
        *self.leader.lock().unwrap_or_else(PoisonError::into_inner) = Some(probe);
    }

    pub(in crate::telemetry) fn set_resources(&self, probe: Probe<Option<ResourceCounts>>) {
        *self.resources.lock().unwrap_or_else(PoisonError::into_inner) = Some(probe);
    }

    // The lock is not held while a probe is asked: it may take locks of its own.
    fn each_queue(&self, mut f: impl FnMut(&'static str, QueueStats)) {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (kind, probe) in queues {
            if let Some(found) = call_probe(&probe) {
                f(kind.as_str(), found);
            }
        }
    }

    fn leads(&self) -> Option<bool> {
        let probe = self.leader.lock().unwrap_or_else(PoisonError::into_inner).clone();
        probe.and_then(|probe| call_probe(&probe))
    }

    fn counts(&self) -> Option<ResourceCounts> {
        let probe = self.resources.lock().unwrap_or_else(PoisonError::into_inner).clone();
        probe.and_then(|probe| call_probe(&probe)).flatten()
    }
}

/// Makes every observable instrument of the table.
pub(in crate::telemetry) fn register(
    meter: &Meter,
    probes: &Arc<Probes>,
    ages: &Arc<WatchActivity>,
    delivery: &Arc<ExportStats>,
    identity: &Identity,
) {
    resources(meter, probes);
    queues(meter, probes);
    let ages = Arc::clone(ages);
    observe_seconds(meter, &table::WATCH_AGE, move |to| {
        ages.for_each_age(|resource, age| to.set(age.as_secs_f64(), &[resource]))
    });
    let leader = Arc::clone(probes);
    observe_whole(meter, &table::LEADER, move |to| {
        if let Some(is_leader) = leader.leads() {
            to.set(u64::from(is_leader), &[table::LEASE]);
        }
    });
    export_gauges(meter, delivery);
    let (version, revision, rustc) = (identity.version, identity.revision, identity.rustc);
    observe_whole(meter, &table::BUILD_INFO, move |to| to.set(1, &[version, revision, rustc]));
    process_gauges(meter);
}

fn resources(meter: &Meter, probes: &Arc<Probes>) {
    let ready = Arc::clone(probes);
    observe_whole(meter, &table::SERVICES_READY, move |to| {
        if let Some(counts) = ready.counts() {
            to.set(counts.services_ready, &[]);
        }
    });
    let (states, faded) = (Arc::clone(probes), Faded::default());
    observe_whole(meter, &table::RESOURCES_BY_STATE, move |to| {
        let Some(counts) = states.counts() else { return faded.clear() };
        let there = counts.by_state.iter().map(|(kind, ready, reason, _)| (*kind, *ready, *reason));
        let gone = faded
            .besides(there, Instant::now())
            .into_iter()
            .map(|(kind, ready, reason)| (kind, ready, reason, 0));
        for (kind, ready, reason, n) in counts.by_state.iter().copied().chain(gone) {
            to.set(n, &[kind.as_str(), ready, reason]);
        }
    });
    let unsettled = Arc::clone(probes);
    observe_seconds(meter, &table::UNSETTLED_AGE, move |to| {
        for (kind, age) in unsettled.counts().unwrap_or_default().unsettled_age {
            to.set(age.as_secs_f64(), &[kind.as_str()]);
        }
    });
}

fn queues(meter: &Meter, probes: &Arc<Probes>) {
    let depth = Arc::clone(probes);
    observe_whole(meter, &table::QUEUE_DEPTH, move |to| {
        depth.each_queue(|name, found| to.set(found.depth, &[name]))
    });
    let seconds = |row, pick: fn(&QueueStats) -> Duration| {
        let probes = Arc::clone(probes);
        observe_seconds(meter, row, move |to| {
            probes.each_queue(|name, found| to.set(pick(&found).as_secs_f64(), &[name]))
        });
    };
    seconds(&table::UNFINISHED_WORK, |found| found.unfinished);
    seconds(&table::LONGEST_PROCESSOR, |found| found.longest);
}

fn export_gauges(meter: &Meter, delivery: &Arc<ExportStats>) {
    let exports = Arc::clone(delivery);
    observe_whole(meter, &table::EXPORTS, move |to: &Observer<'_, u64>| {
        for signal in Signal::ALL {
            let (ok, failed) = exports.exports(signal);
            to.set(ok, &[signal.as_str(), "success"]);
            to.set(failed, &[signal.as_str(), "error"]);
        }
    });
    let dropped = Arc::clone(delivery);
    observe_whole(meter, &table::DROPPED, move |to: &Observer<'_, u64>| {
        for signal in Signal::ALL {
            let (full, failed) = dropped.dropped(signal);
            to.set(full, &[signal.as_str(), "queue_full"]);
            to.set(failed, &[signal.as_str(), "error"]);
        }
    });
}

fn process_gauges(meter: &Meter) {
    process::uptime();
    observe_seconds(meter, &table::PROCESS_CPU, |to| {
        if let Some((user, system)) = process::cpu() {
            to.set(user, &["user"]);
            to.set(system, &["system"]);
        }
    });
    observe_level(meter, &table::PROCESS_MEMORY, |to| {
        process::memory().into_iter().for_each(|bytes| to.set(bytes, &[]))
    });
    observe_seconds(meter, &table::PROCESS_UPTIME, |to| to.set(process::uptime(), &[]));
    observe_level(meter, &table::PROCESS_FDS, |to| {
        process::descriptors().into_iter().for_each(|n| to.set(n, &[]))
    });
}
