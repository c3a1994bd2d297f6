//! Everything that makes the operator visible: its metrics, traces and logs. It wraps the operator's work and
//! may import none of our other modules.
//!
//! Nothing outside this module calls the OpenTelemetry crates. Handles ([`Metrics`], [`Traces`], [`PrometheusEndpoint`])
//! are cheap to clone; [`init`] is the only function that sets anything global.
//!
//! ```text
//! settings (OTEL_*) → pipeline::Builder → providers, subscriber → handles
//! reconcile::… (span, metrics, one line) ⊃ step ⊃ client layer (client span, duration)
//! spans → quiet (tentative traces wait) → gate (bounded) → batch → watched exporter
//! ```
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // the one place where OpenTelemetry may be called

pub mod catalog;
pub mod config;
mod export;
mod kube;
mod log;
pub mod metrics;
pub mod prometheus;
pub mod reconcile;
mod sources;
pub mod trace;

pub use crate::telemetry::catalog::attributes::{
    ApplyOutcome, ChildStep, ErrorType, EventOutcome, Kind, ReconcileOutcome, ReconcileStep, Signal, Trigger,
};
pub use crate::telemetry::config::{Identity, LogConfig, LogFormat, TelemetryConfig};
pub use crate::telemetry::export::builder::TelemetryBuilder;
pub use crate::telemetry::export::shutdown::Telemetry;
pub use crate::telemetry::kube::client_layer::ClientLayer;
pub use crate::telemetry::kube::watch_stream::WatchGuard;
pub use crate::telemetry::metrics::{Metrics, QueueMetrics, QueueStats, ResourceCounts};
pub use crate::telemetry::prometheus::endpoint::PrometheusEndpoint;
pub use crate::telemetry::reconcile::{
    Failure, HasReport, ReconcileInfo, ReconcileReport, SpanParent, fail_step, step, step_for,
};
pub use crate::telemetry::trace::build_spans::{BuildSpan, TaskSpan};
pub use crate::telemetry::trace::rollout_context::{
    RolloutContext, RolloutSeed, RolloutSpan, SpanIds, valid_traceparent,
};
pub use crate::telemetry::trace::{EventRecord, Traces, current_ids};

/// Why telemetry could not be started.
#[derive(Debug, thiserror::Error)]
#[error("telemetry: {0}")]
pub struct InitError(pub String);

/// Starts telemetry and installs its subscriber. Must be called inside a multi-thread tokio runtime, once.
///
/// # Errors
/// When a subscriber is installed already, or the page cannot be joined to the instruments.
#[allow(clippy::needless_pass_by_value)] // everything is handed over whole
pub fn init(
    settings: TelemetryConfig,
    identity: Identity,
    log: LogConfig,
    page: bool,
) -> Result<Telemetry, InitError> {
    let builder = TelemetryBuilder::new(settings, identity).with_page(page).with_configured_exporters();
    let (telemetry, subscriber, warnings) = builder.build(&log, std::io::stderr)?;
    tracing::dispatcher::set_global_default(subscriber).map_err(|error| InitError(error.to_string()))?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(telemetry)
}
