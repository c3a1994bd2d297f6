//! Everything that makes the operator visible: its metrics, traces and logs. It wraps the operator's work and may import none of our other modules.

pub mod client;
pub mod metrics;
pub mod page;
pub mod reconcile;
pub mod rollout;
pub mod settings;
pub mod traces;
pub mod vocabulary;
pub mod watch;

use std::time::Duration;

pub use metrics::{Metrics, QueueMetrics, QueueProbe, ResourceCounts};
pub use page::Page;
pub use reconcile::{
    Failure, Place, ReconcileInfo, Report, Reported, fail_step, step, step_for,
};
pub use rollout::{RolloutContext, RolloutSeed, RolloutSpan, SpanIds, valid_traceparent};
pub use settings::{Identity, LogFormat, LogSettings, Settings};
pub use traces::{EventLog, Traces, current_ids};
pub use vocabulary::{ApplyOutcome, ErrorType, EventOutcome, Kind, Trigger};

/// Why telemetry could not be started.
#[derive(Debug, thiserror::Error)]
#[error("telemetry: {0}")]
pub struct InitError(pub String);

/// Starts telemetry. Must be called inside a multi-thread tokio runtime; the only function that sets anything global.
///
/// # Errors
/// When a subscriber is already installed, or a part of the pipeline cannot be built.
pub fn init(
    settings: Settings,
    identity: Identity,
    log: LogSettings,
    page: bool,
) -> Result<Telemetry, InitError> {
    let _ = (settings, identity, log, page);
    todo!()
}

/// The running telemetry; ends with [`Telemetry::shutdown`].
pub struct Telemetry {
    metrics: Metrics,
    traces: Traces,
    page: Option<Page>,
}

impl Telemetry {
    /// Handle for recording; cheap to clone.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }
    /// Handle for traces; cheap to clone.
    pub fn traces(&self) -> Traces {
        self.traces.clone()
    }
    /// The Prometheus page; none when `ELPIO_METRICS` is off.
    pub fn page(&self) -> Option<Page> {
        self.page.clone()
    }
    /// Flushes and ends everything within `bound`; says what was lost.
    pub async fn shutdown(self, bound: Duration) -> Vec<String> {
        let _ = bound;
        todo!()
    }
}
