//! The subscriber: lines to stderr, spans to the tracer, log records to the collector, each with a separate
//! filter. It installs nothing.

pub(in crate::telemetry) mod format;
pub(in crate::telemetry) mod partial_success;
pub(in crate::telemetry) mod processor;

use std::sync::Arc;

use opentelemetry::Context;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::{
    logs::{SdkLogger, SdkLoggerProvider},
    trace::SdkTracer,
};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt as _, filter_fn},
    fmt::MakeWriter,
    layer::{Context as LayerContext, SubscriberExt as _},
    registry::LookupSpan,
};

use crate::telemetry::{
    config::LogConfig,
    log::{
        format::LogFormatter,
        partial_success::{PartialSuccessLayer, is_of_exporters},
    },
    sources::export_stats::ExportStats,
    trace::{
        context::{self, SPAN_TARGET, current_reconcile, ids_if_kept},
        exception::EXCEPTION_TARGET,
    },
};

/// The SDK's own lines: [`crate::telemetry::sources::export_stats`] logs the relevant ones.
const SDK_OFF_DIRECTIVE: &str = "opentelemetry=off";

/// kube's client logs complete responses, including values of specs. No setting shows these lines.
const KUBE_CLIENT_TARGET: &str = "kube_client::client";

/// The transport of log records: its lines would cause more of themselves.
const TRANSPORT_TARGETS: &[&str] = &["opentelemetry", "tonic", "h2", "hyper", "tower", "rustls"];

/// The configured filter, or `info` with a warning.
fn filter(config: &LogConfig, warnings: &mut Vec<String>) -> EnvFilter {
    EnvFilter::try_new(format!("{SDK_OFF_DIRECTIVE},{}", config.filter)).unwrap_or_else(|error| {
        let line = format!("invalid value ELPIO_LOG or RUST_LOG={:?}: {error}; using info", config.filter);
        if !warnings.contains(&line) {
            warnings.push(line);
        }
        EnvFilter::new(format!("{SDK_OFF_DIRECTIVE},info"))
    })
}

fn is_kube_client(meta: &Metadata<'_>) -> bool {
    meta.target().starts_with(KUBE_CLIENT_TARGET)
}

fn is_event(meta: &Metadata<'_>) -> bool {
    meta.is_event()
}

/// An exception's record belongs to its span, whatever the log level.
fn is_exception(meta: &Metadata<'_>) -> bool {
    meta.target() == EXCEPTION_TARGET
}

fn is_own_warning(meta: &Metadata<'_>) -> bool {
    *meta.level() <= Level::WARN && meta.target().starts_with(env!("CARGO_CRATE_NAME"))
}

/// Joins all layers. The target alone selects spans: no log setting affects them.
pub(in crate::telemetry) fn subscriber<W>(
    config: &LogConfig,
    to: W,
    tracer: SdkTracer,
    records: Option<&SdkLoggerProvider>,
    export_stats: &Arc<ExportStats>,
    warnings: &mut Vec<String>,
) -> Dispatch
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let spans = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(|meta| meta.is_span() && meta.target() == SPAN_TARGET));
    let warned = KeepTraceOnWarning.with_filter(filter_fn(is_own_warning));
    let lines = tracing_subscriber::fmt::layer()
        .event_format(LogFormatter { format: config.format, ansi: config.ansi })
        .with_writer(to)
        .with_filter(
            filter(config, warnings).and(filter_fn(|meta| !is_exception(meta) && !is_kube_client(meta))),
        );
    let bridge = records.map(|provider| {
        let foreign = filter_fn(|meta| {
            let is_transport = TRANSPORT_TARGETS.iter().any(|carrier| meta.target().starts_with(carrier));
            !is_transport && !is_kube_client(meta)
        });
        OtlpLogLayer(OpenTelemetryTracingBridge::new(provider))
            .with_filter(filter(config, warnings).and(foreign).or(filter_fn(is_exception)))
    });
    let rejected = PartialSuccessLayer(Arc::clone(export_stats)).with_filter(filter_fn(is_of_exporters));
    // A filtered layer looks up the span at each enter and exit, so one outer filter keeps spans from all of
    // these. It also rejects events that no layer wants, so that their fields are not evaluated.
    let wanted = filter(config, warnings)
        .or(filter_fn(is_exception))
        .or(filter_fn(is_of_exporters))
        .or(filter_fn(is_own_warning))
        .and(filter_fn(is_event));
    let events = warned.and_then(lines).and_then(bridge).and_then(rejected).with_filter(wanted);
    Dispatch::new(tracing_subscriber::registry().with(spans).with(events))
}

/// A warning keeps the trace of its reconcile, whether or not the line is shown.
struct KeepTraceOnWarning;

impl<S: Subscriber> Layer<S> for KeepTraceOnWarning {
    fn on_event(&self, _event: &Event<'_>, _ctx: LayerContext<'_, S>) {
        context::keep_current_trace();
    }
}

/// The OTLP bridge, without IDs if the line on stderr has none: the SDK would add those of unsampled spans.
struct OtlpLogLayer(OpenTelemetryTracingBridge<SdkLoggerProvider, SdkLogger>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for OtlpLogLayer {
    fn on_event(&self, event: &Event<'_>, ctx: LayerContext<'_, S>) {
        if Context::is_current_telemetry_suppressed() {
            return;
        }
        let _bare = ids_if_kept().is_none().then(|| match current_reconcile() {
            Some(reconcile) => Context::new().with_value(reconcile).attach(),
            None => Context::new().attach(),
        });
        self.0.on_event(event, ctx);
    }
}
