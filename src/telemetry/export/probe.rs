//! Sends an empty export to each configured endpoint, to check that it answers. It creates no telemetry.

use std::{sync::Arc, time::Duration};

use opentelemetry_sdk::{
    error::{OTelSdkError, OTelSdkResult},
    logs::{LogBatch, LogExporter as _},
    metrics::{data::ResourceMetrics, exporter::PushMetricExporter as _},
};

use crate::{
    api::url::redact_userinfo,
    telemetry::{
        catalog::attributes::Signal,
        config::{InitError, TelemetryConfig, otlp::OtlpConfig},
        export::{otlp::OtlpExporters, spans::EncodedSpans},
        sources::{error_chain::error_chain, export_stats::ExportStats},
    },
};

/// Limits the exporter's retries when an endpoint does not answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The result of an empty export.
#[derive(Clone, Debug)]
pub struct ExporterProbe {
    /// The signal.
    pub signal: Signal,
    /// The endpoint, without user name and password.
    pub endpoint: String,
    /// Why the endpoint did not accept it.
    pub failure: Option<String>,
}

/// Sends one empty export per signal that is exported over OTLP.
pub async fn probe_exporters(config: &TelemetryConfig) -> Vec<ExporterProbe> {
    let outputs = [
        (Signal::Traces, &config.traces.otlp),
        (Signal::Metrics, &config.metrics.otlp),
        (Signal::Logs, &config.logs.otlp),
    ];
    let mut probes = Vec::new();
    for (signal, otlp) in outputs.into_iter().filter_map(|(signal, otlp)| Some((signal, otlp.as_ref()?))) {
        let failure = failure_of(signal, otlp, config).await;
        probes.push(ExporterProbe { signal, endpoint: redact_userinfo(&otlp.endpoint), failure });
    }
    probes
}

#[allow(clippy::needless_pass_by_value)] // as `map_err` hands it over
fn not_built(error: InitError) -> OTelSdkError {
    OTelSdkError::InternalFailure(error.0)
}

async fn failure_of(signal: Signal, otlp: &OtlpConfig, config: &TelemetryConfig) -> Option<String> {
    let (stats, mut warnings) = (Arc::<ExportStats>::default(), Vec::new());
    let exporters = OtlpExporters::new(signal, otlp, TIMEOUT, &stats, &mut warnings);
    if !warnings.is_empty() {
        return Some(warnings.join("; "));
    }
    let sent: Result<OTelSdkResult, _> = tokio::time::timeout(TIMEOUT, async {
        match signal {
            Signal::Traces => exporters.spans().map_err(not_built)?.export(EncodedSpans::default()).await,
            Signal::Metrics => {
                let exporter = exporters.metrics(config.temporality).map_err(not_built)?;
                exporter.export(&ResourceMetrics::default()).await
            }
            Signal::Logs => exporters.logs().map_err(not_built)?.export(LogBatch::new(&[])).await,
        }
    })
    .await;
    match sent {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(stats.cause(signal).unwrap_or_else(|| error_chain(&error))),
        Err(_) => Some(format!("no response within {} s", TIMEOUT.as_secs())),
    }
}
