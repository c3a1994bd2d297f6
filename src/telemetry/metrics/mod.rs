//! Records the instruments; it creates none that is not in the table.

pub(in crate::telemetry) mod gauges;
pub(in crate::telemetry) mod typed;

use std::{sync::Arc, time::Duration};

use opentelemetry::metrics::Meter;
use opentelemetry_sdk::metrics::SdkMeterProvider;

use crate::telemetry::{
    catalog::{
        attributes::{BuildResult, Engine, EventOutcome, EventReason, EventType, Kind, RolloutResult},
        instruments as table,
    },
    config::Identity,
    metrics::typed::{OpenHistogram, TypedCounter, TypedHistogram, TypedUpDownCounter},
    prometheus::exemplars::ExemplarReservoir,
    sources::{
        export_stats::ExportStats,
        probes::{Probes, QueueStats, ResourceCounts},
        watch_activity::WatchActivity,
    },
    trace::span_ids::SpanIds,
};

/// The handle for recording; cheap to clone. Without page and push it is empty, and every call returns at
/// once.
#[derive(Clone, Default)]
pub struct Metrics {
    pub(in crate::telemetry) instruments: Option<Arc<Instruments>>,
    /// The provider that pushes; `None` without push.
    pub(in crate::telemetry) pusher: Option<SdkMeterProvider>,
    /// Whether to send `traceparent` to the API server.
    pub(in crate::telemetry) propagate: bool,
}

/// The synchronous instruments, one per row of the table.
pub(in crate::telemetry) struct Instruments {
    pub(in crate::telemetry) reconcile: TypedCounter,
    pub(in crate::telemetry) reconcile_duration: TypedHistogram,
    pub(in crate::telemetry) reconcile_errors: TypedCounter,
    pub(in crate::telemetry) reconcile_active: TypedUpDownCounter,
    pub(in crate::telemetry) reconcile_triggers: TypedCounter,
    pub(in crate::telemetry) apply: TypedCounter,
    rollouts: TypedCounter,
    rollout_duration: TypedHistogram,
    builds: TypedCounter,
    build_duration: TypedHistogram,
    events: TypedCounter,
    queue_adds: TypedCounter,
    queue_retries: TypedCounter,
    queue_duration: TypedHistogram,
    work_duration: TypedHistogram,
    pub(in crate::telemetry) http_duration: OpenHistogram,
    pub(in crate::telemetry) watch_events: TypedCounter,
    pub(in crate::telemetry) watch_restarts: TypedCounter,
    pub(in crate::telemetry) watch_activity: Arc<WatchActivity>,
    probes: Arc<Probes>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("on", &self.instruments.is_some()).finish_non_exhaustive()
    }
}

impl Instruments {
    /// Creates every instrument of the table.
    pub(in crate::telemetry) fn new(
        meter: &Meter,
        export_stats: &Arc<ExportStats>,
        exemplars: Option<&Arc<ExemplarReservoir>>,
        identity: &Identity,
    ) -> Self {
        let count = |row| TypedCounter::new(meter, row);
        let times = |row| TypedHistogram::new(meter, row, exemplars);
        let (probes, watch_activity) = (Arc::<Probes>::default(), Arc::<WatchActivity>::default());
        gauges::register(meter, &probes, &watch_activity, export_stats, identity);
        Self {
            reconcile: count(&table::RECONCILE),
            reconcile_duration: times(&table::RECONCILE_DURATION),
            reconcile_errors: count(&table::RECONCILE_ERRORS),
            reconcile_active: TypedUpDownCounter::new(meter, &table::RECONCILE_ACTIVE),
            reconcile_triggers: count(&table::RECONCILE_TRIGGERS),
            apply: count(&table::APPLY),
            rollouts: count(&table::ROLLOUTS),
            rollout_duration: times(&table::ROLLOUT_DURATION),
            builds: count(&table::BUILDS),
            build_duration: times(&table::BUILD_DURATION),
            events: count(&table::EVENTS),
            queue_adds: count(&table::QUEUE_ADDS),
            queue_retries: count(&table::QUEUE_RETRIES),
            queue_duration: times(&table::QUEUE_DURATION),
            work_duration: times(&table::WORK_DURATION),
            http_duration: OpenHistogram::new(meter, &table::HTTP_CLIENT_DURATION, exemplars),
            watch_events: count(&table::WATCH_EVENTS),
            watch_restarts: count(&table::WATCH_RESTARTS),
            watch_activity,
            probes,
        }
    }
}

impl Metrics {
    /// Pushes all metrics now, in the background: after a change of leader, two replicas would otherwise
    /// report one state until their next push.
    pub fn push_now(&self) {
        if let Some(pusher) = self.pusher.clone() {
            // Blocks for up to one export; the exporter's wrapper counts and logs failures.
            std::thread::spawn(move || pusher.force_flush());
        }
    }

    /// Records the end of a rollout; `ctx` has the IDs of its root span, if it is sampled.
    pub fn rollout_ended(
        &self,
        kind: Kind,
        engine: Option<Engine>,
        result: impl Into<RolloutResult>,
        took: Duration,
        ctx: Option<&SpanIds>,
    ) {
        if let Some(on) = &self.instruments {
            let values = [kind.into(), engine.into(), result.into().into()];
            on.rollouts.add(1, values);
            on.rollout_duration.record(took.as_secs_f64(), values, ctx.copied());
        }
    }

    /// Records the end of a build.
    pub fn build_ended(&self, result: BuildResult, took: Duration) {
        if let Some(on) = &self.instruments {
            on.builds.add(1, [result.into()]);
            on.build_duration.record(took.as_secs_f64(), [result.into()], None);
        }
    }

    /// Counts an Event.
    pub fn event(&self, type_: EventType, reason: EventReason, outcome: EventOutcome) {
        if let Some(on) = &self.instruments {
            on.events.add(1, [type_.into(), reason.into(), outcome.into()]);
        }
    }

    /// Sets how many reconciles of a kind may run concurrently.
    pub fn workers(&self, kind: Kind, workers: usize) {
        if let Some(on) = &self.instruments {
            on.probes.set_workers(kind, u64::try_from(workers).unwrap_or(u64::MAX));
        }
    }

    /// The metrics of a kind's work queue; `probe` runs at each collection and must be fast.
    pub fn queue(&self, kind: Kind, probe: impl Fn() -> QueueStats + Send + Sync + 'static) -> QueueMetrics {
        if let Some(on) = &self.instruments {
            on.probes.set_queue(kind, Arc::new(probe));
        }
        QueueMetrics { instruments: self.instruments.clone(), name: kind }
    }

    /// Reports whether this replica leads; `probe` runs at each collection.
    pub fn leader(&self, probe: impl Fn() -> bool + Send + Sync + 'static) {
        if let Some(on) = &self.instruments {
            on.probes.set_leader(Arc::new(probe));
        }
    }

    /// Reports how many watches are refused per namespace; `probe` runs at each collection.
    pub fn refused_watches(&self, probe: impl Fn() -> Vec<(String, u64)> + Send + Sync + 'static) {
        if let Some(on) = &self.instruments {
            on.probes.set_refused_watches(Arc::new(probe));
        }
    }

    /// Reports the state of Elpio's objects; `probe` runs at each collection, once for every instrument that
    /// shows a part of it. `None`: this replica does not lead.
    pub fn resources(&self, probe: impl Fn() -> Option<ResourceCounts> + Send + Sync + 'static) {
        if let Some(on) = &self.instruments {
            on.probes.set_resources(Arc::new(probe));
        }
    }
}

/// The counters and histograms of one work queue.
#[derive(Clone)]
pub struct QueueMetrics {
    instruments: Option<Arc<Instruments>>,
    name: Kind,
}

impl std::fmt::Debug for QueueMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueueMetrics").field("name", &self.name).finish_non_exhaustive()
    }
}

impl QueueMetrics {
    /// Counts an added key.
    pub fn added(&self) {
        if let Some(on) = &self.instruments {
            on.queue_adds.add(1, [self.name.into()]);
        }
    }

    /// Counts a key that is added again after a failure.
    pub fn retried(&self) {
        if let Some(on) = &self.instruments {
            on.queue_retries.add(1, [self.name.into()]);
        }
    }

    /// Records that a key was taken after it `waited`.
    pub fn dequeued(&self, waited: Duration) {
        if let Some(on) = &self.instruments {
            on.queue_duration.record(waited.as_secs_f64(), [self.name.into()], None);
        }
    }

    /// Records that the work on a key `took` this long.
    pub fn worked(&self, took: Duration) {
        if let Some(on) = &self.instruments {
            on.work_duration.record(took.as_secs_f64(), [self.name.into()], None);
        }
    }
}
