//! The operator's metrics, traces and logs, as wrappers around its work. The Elpio-specific half (the
//! catalog, rollouts and builds as spans) may import `api` and `foreign`; the rest only `backoff`, and the
//! parts of `api` that implement standards.
//!
//! Nothing outside this module calls the OpenTelemetry crates. Handles ([`Metrics`], [`Traces`],
//! [`PrometheusEndpoint`]) are cheap to clone; only [`init`] sets anything global.
//!
//! ```text
//! config (OTEL_*) → export::TelemetryBuilder → providers, subscriber → handles
//! reconcile (span, metrics, one line) ⊃ step ⊃ kube::client_layer (client span, duration)
//! spans → TailSamplingProcessor → BoundedProcessor → batch → CountingExporter
//! ```
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // the one place where OpenTelemetry may be called

pub mod catalog;
pub mod config;
mod export;
mod kube;
mod log;
pub mod metrics;
mod object_reference;
pub mod prometheus;
pub mod reconcile;
mod sources;
pub mod trace;

pub use crate::telemetry::catalog::attributes::{
    ApplyOutcome, ChildStep, ErrorType, EventOutcome, Kind, ReadyValue, ReconcileOutcome, ReconcileStep,
    RolloutResult, Signal, Trigger,
};
pub use crate::telemetry::config::{Identity, InitError, LogConfig, LogFormat, TelemetryConfig};
pub use crate::telemetry::export::builder::TelemetryBuilder;
pub use crate::telemetry::export::probe::{ExporterProbe, probe_exporters};
pub use crate::telemetry::export::shutdown::Telemetry;
pub use crate::telemetry::kube::client_layer::TelemetryLayer;
pub use crate::telemetry::kube::request_span::drop_as_timed_out;
pub use crate::telemetry::kube::watch_stream::WatchGuard;
pub use crate::telemetry::metrics::{Metrics, QueueMetrics};
pub use crate::telemetry::object_reference::ObjectReference;
pub use crate::telemetry::prometheus::endpoint::PrometheusEndpoint;
pub use crate::telemetry::reconcile::late_calls::CallingReconcile;
pub use crate::telemetry::reconcile::report::{
    Failure, ReconcileInfo, ReconcilePanicked, ReconcileReport, SpanParent,
};
pub use crate::telemetry::reconcile::steps::{fail_step, step, step_for};
pub(crate) use crate::telemetry::sources::error_chain::error_chain;
pub use crate::telemetry::sources::probes::{KindCounts, QueueStats, ResourceCounts};
pub use crate::telemetry::trace::build_spans::{BuildSpan, TaskSpan};
pub use crate::telemetry::trace::rollout_context::{RolloutContext, RolloutSeed, RolloutSpan};
pub use crate::telemetry::trace::span_ids::SpanIds;
pub use crate::telemetry::trace::{Traces, current_ids};

/// Starts telemetry and installs its subscriber. Call it once, inside a multi-thread tokio runtime.
///
/// # Errors
/// If a subscriber is already installed, or the Prometheus page cannot be registered.
#[allow(clippy::needless_pass_by_value)] // everything is handed over whole
pub fn init(
    config: TelemetryConfig,
    identity: Identity,
    log: LogConfig,
    with_metrics_endpoint: bool,
) -> Result<Telemetry, InitError> {
    let builder = TelemetryBuilder::new(config, identity)
        .with_metrics_endpoint(with_metrics_endpoint)
        .with_configured_exporters();
    let (telemetry, subscriber, warnings) = builder.build(&log, std::io::stderr)?;
    tracing::dispatcher::set_global_default(subscriber).map_err(InitError::from_error)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(telemetry)
}
