//! The observable instruments; it computes no values. `controller/state_counts.rs` counts the objects by
//! state, and `operator/wiring.rs` connects the two.

use std::{sync::Arc, time::Duration};

use opentelemetry::metrics::Meter;

use crate::telemetry::{
    catalog::{
        attributes::{CpuMode, DropCause, ExportResult, Kind, LabelValue, ReadyValue, Signal, StateReason},
        instruments as table,
    },
    config::Identity,
    metrics::typed::{Observer, observe_level, observe_seconds, observe_whole},
    sources::{
        export_stats::ExportStats,
        probes::{Probes, QueueStats},
        process,
        watch_activity::WatchActivity,
    },
};

/// Creates every observable instrument of the table.
pub(in crate::telemetry) fn register(
    meter: &Meter,
    probes: &Arc<Probes>,
    watch_activity: &Arc<WatchActivity>,
    export_stats: &Arc<ExportStats>,
    identity: &Identity,
) {
    resources(meter, probes);
    queues(meter, probes);
    let watch_activity = Arc::clone(watch_activity);
    observe_seconds(meter, &table::WATCH_AGE, move |to| {
        watch_activity.for_each_age(|resource, age| to.set_text(age.as_secs_f64(), &[resource]));
    });
    let refused = Arc::clone(probes);
    observe_whole(meter, &table::WATCH_REFUSED, move |to| {
        for (namespace, watches) in refused.refused_watches() {
            to.set_text(watches, &[&namespace]);
        }
    });
    let leader = Arc::clone(probes);
    observe_whole(meter, &table::LEADER, move |to| {
        if let Some(is_leader) = leader.is_leader() {
            to.set_text(u64::from(is_leader), &[table::LEADER_ELECTION]);
        }
    });
    export_gauges(meter, export_stats);
    let (version, revision, rustc) = (identity.version, identity.revision, identity.rustc);
    observe_whole(meter, &table::BUILD_INFO, move |to| to.set_text(1, &[version, revision, rustc]));
    process_gauges(meter);
}

fn resources(meter: &Meter, probes: &Arc<Probes>) {
    let ready = Arc::clone(probes);
    observe_whole(meter, &table::SERVICES_READY, move |to| {
        if let Some(counts) = ready.counts() {
            to.set(counts.services_ready(), &[]);
        }
    });
    let states = Arc::clone(probes);
    observe_whole(meter, &table::RESOURCES_BY_STATE, move |to| {
        let Some(counts) = states.counts() else { return };
        // Reports every state, even without objects: a pushed series that ends would keep its last value.
        for kind in Kind::ALL {
            for ready in ReadyValue::ALL {
                for reason in StateReason::ALL {
                    let values = [kind.into(), ready.into(), reason.into()];
                    if table::RESOURCES_BY_STATE.allows(&values.map(LabelValue::as_str)) {
                        to.set(counts.in_state(kind, ready, reason), &values);
                    }
                }
            }
        }
    });
    let unsettled = Arc::clone(probes);
    observe_seconds(meter, &table::UNSETTLED_AGE, move |to| {
        let Some(counts) = unsettled.counts() else { return };
        for kind in Kind::ALL {
            to.set(counts.unsettled_age(kind).as_secs_f64(), &[kind.into()]);
        }
    });
}

fn queues(meter: &Meter, probes: &Arc<Probes>) {
    let depth = Arc::clone(probes);
    observe_whole(meter, &table::QUEUE_DEPTH, move |to| {
        depth.each_queue(|kind, found| to.set(found.depth, &[kind.into()]));
    });
    let workers = Arc::clone(probes);
    observe_whole(meter, &table::WORKERS, move |to| {
        workers.workers().into_iter().for_each(|(kind, workers)| to.set(workers, &[kind.into()]));
    });
    let seconds = |row, pick: fn(&QueueStats) -> Duration| {
        let probes = Arc::clone(probes);
        observe_seconds(meter, row, move |to| {
            probes.each_queue(|kind, found| to.set(pick(&found).as_secs_f64(), &[kind.into()]));
        });
    };
    seconds(&table::UNFINISHED_WORK, |found| found.unfinished);
    seconds(&table::LONGEST_PROCESSOR, |found| found.longest);
}

fn export_gauges(meter: &Meter, export_stats: &Arc<ExportStats>) {
    let exports = Arc::clone(export_stats);
    observe_whole(meter, &table::EXPORTS, move |to: &Observer<'_, u64>| {
        for signal in Signal::ALL {
            let (ok, failed) = exports.exports(signal);
            to.set(ok, &[signal.into(), ExportResult::Success.into()]);
            to.set(failed, &[signal.into(), ExportResult::Error.into()]);
        }
    });
    let dropped = Arc::clone(export_stats);
    observe_whole(meter, &table::DROPPED, move |to: &Observer<'_, u64>| {
        for signal in Signal::ALL {
            let (full, failed) = dropped.dropped(signal);
            to.set(full, &[signal.into(), DropCause::QueueFull.into()]);
            to.set(failed, &[signal.into(), DropCause::Error.into()]);
        }
    });
}

fn process_gauges(meter: &Meter) {
    process::uptime();
    observe_seconds(meter, &table::PROCESS_CPU, |to| {
        if let Some((user, system)) = process::cpu() {
            to.set(user, &[CpuMode::User.into()]);
            to.set(system, &[CpuMode::System.into()]);
        }
    });
    observe_level(meter, &table::PROCESS_MEMORY, |to| {
        if let Some(bytes) = process::memory() {
            to.set(bytes, &[]);
        }
    });
    observe_seconds(meter, &table::PROCESS_UPTIME, |to| to.set(process::uptime(), &[]));
    observe_level(meter, &table::PROCESS_FDS, |to| {
        if let Some(n) = process::descriptors() {
            to.set(n, &[]);
        }
    });
}
