//! Everything that makes the operator visible: its metrics, traces and logs. It wraps the operator's work and
//! may import none of our other modules.
//!
//! Nothing outside this module calls the OpenTelemetry crates. Handles ([`Metrics`], [`Traces`], [`Page`])
//! are cheap to clone; [`init`] is the only function that sets anything global.
//!
//! ```text
//! settings (OTEL_*) → pipeline::Builder → providers, subscriber → handles
//! reconcile::… (span, metrics, one line) ⊃ step ⊃ client layer (client span, duration)
//! spans → quiet (tentative traces wait) → gate (bounded) → batch → watched exporter
//! ```
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // the one place where OpenTelemetry may be called

mod age;
mod body;
pub mod build;
mod call;
pub mod client;
mod current;
mod delivery;
mod endpoint;
mod environment;
mod exemplars;
mod faded;
mod ids;
pub mod instruments;
pub mod instruments_page;
mod lines;
mod logs;
pub mod metrics;
mod observed;
mod openmetrics;
pub mod page;
mod pipeline;
mod process;
mod quiet;
pub mod reconcile;
mod recorder;
mod records;
mod resource;
pub mod rollout;
pub mod settings;
#[cfg(test)]
mod settings_test;
mod shutdown;
pub mod spans;
pub mod spans_page;
mod timing;
pub mod traces;
mod transport;
mod url;
pub mod vocabulary;
mod watch;
mod watched;

pub use build::{BuildSpan, TaskSpan};
pub use client::ClientLayer;
pub use metrics::{Metrics, QueueMetrics, QueueProbe, ResourceCounts};
pub use page::Page;
pub use pipeline::Builder;
pub use reconcile::{Failure, Place, ReconcileInfo, Report, Reported, fail_step, step, step_for};
pub use rollout::{RolloutContext, RolloutSeed, RolloutSpan, SpanIds, valid_traceparent};
pub use settings::{Identity, LogFormat, LogSettings, Settings};
pub use shutdown::Telemetry;
pub use traces::{EventLog, Traces, current_ids};
pub use vocabulary::{
    ApplyOutcome, ChildStep, ErrorType, EventOutcome, Kind, RunOutcome, RunStep, Signal, Trigger,
};

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
    settings: Settings,
    identity: Identity,
    log: LogSettings,
    page: bool,
) -> Result<Telemetry, InitError> {
    let builder = Builder::new(settings, identity).with_page(page).exporting();
    let (telemetry, subscriber, warnings) = builder.build(&log, std::io::stderr)?;
    tracing::dispatcher::set_global_default(subscriber).map_err(|error| InitError(error.to_string()))?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(telemetry)
}
