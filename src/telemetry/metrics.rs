//! Recording of the instruments; it may create none that is not a row of the table.

use std::time::Duration;

use super::rollout::SpanIds;
use super::vocabulary::{EventOutcome, Kind};

/// Handle for recording; cheap to clone.
#[derive(Clone)]
pub struct Metrics {}

/// What a work queue says of itself at collection.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueueProbe {
    /// Keys that wait.
    pub depth: u64,
    /// Sum of the ages of what is being worked on.
    pub unfinished: Duration,
    /// Age of the longest of them.
    pub longest: Duration,
}

/// What the watch cache says of our objects at collection.
#[derive(Clone, Debug, Default)]
pub struct ResourceCounts {
    /// `ElpioService` objects that are ready.
    pub services_ready: u64,
    /// Objects by kind, ready (`true`, `false`, `unknown`) and reason.
    pub by_state: Vec<(Kind, &'static str, &'static str, u64)>,
    /// By kind: age of the oldest object whose generation is not yet observed.
    pub unsettled_age: Vec<(Kind, Duration)>,
}

impl Metrics {
    /// A rollout ended.
    pub fn rollout_ended(
        &self,
        kind: Kind,
        engine: &'static str,
        outcome: &'static str,
        took: Duration,
        ctx: Option<&SpanIds>,
    ) {
        let _ = (kind, engine, outcome, took, ctx);
        todo!()
    }
    /// A build ended.
    pub fn build_ended(&self, result: &'static str, took: Duration) {
        let _ = (result, took);
        todo!()
    }
    /// An Event occurred.
    pub fn event(&self, type_: &'static str, reason: &'static str, outcome: EventOutcome) {
        let _ = (type_, reason, outcome);
        todo!()
    }
    /// The metrics of a work queue; `probe` is read at each collection.
    pub fn queue(
        &self,
        kind: Kind,
        probe: impl Fn() -> QueueProbe + Send + Sync + 'static,
    ) -> QueueMetrics {
        let _ = (kind, probe);
        todo!()
    }
    /// Whether this replica leads; read at each collection.
    pub fn leader(&self, probe: impl Fn() -> bool + Send + Sync + 'static) {
        let _ = probe;
        todo!()
    }
    /// State of our objects; `None` (not the leader) gives no series.
    pub fn resources(&self, probe: impl Fn() -> Option<ResourceCounts> + Send + Sync + 'static) {
        let _ = probe;
        todo!()
    }
}

/// The counters and histograms of one work queue.
#[derive(Clone)]
pub struct QueueMetrics {}

impl QueueMetrics {
    /// A key was added.
    pub fn added(&self) {
        todo!()
    }
    /// A key was added again after a failure.
    pub fn retried(&self) {
        todo!()
    }
    /// A key was taken after it `waited`.
    pub fn dequeued(&self, waited: Duration) {
        let _ = waited;
        todo!()
    }
    /// Its work `took` so long.
    pub fn worked(&self, took: Duration) {
        let _ = took;
        todo!()
    }
}
