//! Builds telemetry from its parts: takes exporters; returns providers, subscriber and handles. It sets
//! nothing global.

use std::sync::{Arc, atomic::AtomicUsize};

use opentelemetry::{InstrumentationScope, logs::LoggerProvider as _, trace::TracerProvider as _};
use opentelemetry_sdk::{
    logs::{
        BatchConfigBuilder as LogBatchConfig, BatchLogProcessor, LogExporter, LogProcessor, SdkLoggerProvider,
    },
    metrics::{PeriodicReader, exporter::PushMetricExporter},
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, ShouldSample, SpanExporter, SpanProcessor},
};
use tracing::Dispatch;
use tracing_subscriber::fmt::MakeWriter;

use crate::telemetry::{
    catalog::attributes::Signal,
    config::{
        Identity, InitError, LogConfig, TelemetryConfig,
        otlp::OtlpConfig,
        resource::{SCHEMA_URL, resource},
    },
    export::{
        bounded_processor::BoundedProcessor,
        counting_exporter::CountingExporter,
        otlp::OtlpExporters,
        providers::{self, AddReader},
        reloading::ReloadingExporter,
        shutdown::Telemetry,
        spans::{OtlpBatchProcessor, OtlpSpanExporter},
    },
    log::{self, processor::ObjectLogProcessor},
    metrics::Metrics,
    sources::export_stats::ExportStats,
    trace::{self, Traces},
};

/// Telemetry under construction: [`super::init`] uses the exporters from the settings, tests use others.
///
/// ```
/// use elpio_operator::telemetry::{Identity, LogConfig, LogFormat, TelemetryBuilder, TelemetryConfig};
/// use opentelemetry_sdk::trace::InMemorySpanExporter;
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let (config, warnings) = TelemetryConfig::from_env(&|_| None);
/// assert!(warnings.is_empty());
/// let spans = InMemorySpanExporter::default();
/// let log = LogConfig { filter: "info".into(), format: LogFormat::Json, ansi: false };
/// let builder = TelemetryBuilder::new(config, Identity::default()).spans(spans.clone());
/// let (telemetry, _dispatch, _warnings) = builder.build(&log, std::io::sink).unwrap();
/// assert!(telemetry.metrics_endpoint().is_none(), "with_metrics_endpoint(true) opens the metrics page");
/// # });
/// ```
pub struct TelemetryBuilder {
    config: TelemetryConfig,
    identity: Identity,
    with_metrics_endpoint: bool,
    export_stats: Arc<ExportStats>,
    spans: Vec<Box<dyn SpanProcessor>>,
    records: Vec<Box<dyn LogProcessor>>,
    readers: Vec<AddReader>,
    waiting: Vec<(Signal, Arc<AtomicUsize>)>,
    warnings: Vec<String>,
}

impl std::fmt::Debug for TelemetryBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TelemetryBuilder")
            .field("config", &self.config)
            .field("with_metrics_endpoint", &self.with_metrics_endpoint)
            .finish_non_exhaustive()
    }
}

impl TelemetryBuilder {
    /// A builder without Prometheus page and exporters.
    #[must_use]
    pub fn new(config: TelemetryConfig, identity: Identity) -> Self {
        Self {
            config,
            identity,
            with_metrics_endpoint: false,
            export_stats: Arc::default(),
            spans: Vec::new(),
            records: Vec::new(),
            readers: Vec::new(),
            waiting: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Enables or disables the Prometheus page.
    #[must_use]
    pub fn with_metrics_endpoint(mut self, on: bool) -> Self {
        self.with_metrics_endpoint = on && !self.config.disabled;
        if on && self.config.disabled {
            self.warnings.push(
                "OTEL_SDK_DISABLED=\"true\": no telemetry at all; ELPIO_METRICS has no effect".to_owned(),
            );
        }
        self
    }

    fn queue(&mut self, signal: Signal) -> Arc<AtomicUsize> {
        let waiting = Arc::<AtomicUsize>::default();
        self.waiting.push((signal, Arc::clone(&waiting)));
        waiting
    }

    /// Exports spans with this exporter.
    #[must_use]
    pub fn spans<E: SpanExporter + 'static>(mut self, exporter: E) -> Self {
        let (waiting, bounds) = (self.queue(Signal::Traces), self.config.spans);
        let batch_config = BatchConfigBuilder::default()
            .with_max_queue_size(bounds.queue)
            .with_max_export_batch_size(bounds.export)
            .with_scheduled_delay(bounds.delay)
            .build();
        let counting = CountingExporter::new(exporter, Signal::Traces, &self.export_stats, &waiting);
        let batch = BatchSpanProcessor::builder(counting).with_batch_config(batch_config).build();
        self.bounded_spans(batch, waiting)
    }

    /// Exports spans over OTLP.
    fn otlp_spans(mut self, exporter: ReloadingExporter<OtlpSpanExporter>) -> Self {
        let waiting = self.queue(Signal::Traces);
        let counting = CountingExporter::new(exporter, Signal::Traces, &self.export_stats, &waiting);
        let batch = OtlpBatchProcessor::new(counting, self.config.spans);
        self.bounded_spans(batch, waiting)
    }

    fn bounded_spans<P: SpanProcessor + 'static>(mut self, batch: P, waiting: Arc<AtomicUsize>) -> Self {
        let room = self.config.spans.queue;
        let bounded = BoundedProcessor::new(batch, Signal::Traces, room, waiting, &self.export_stats);
        self.spans.push(Box::new(bounded));
        self
    }

    /// Exports log records with this exporter.
    #[must_use]
    pub fn records<E: LogExporter + 'static>(mut self, exporter: E) -> Self {
        let (waiting, bounds) = (self.queue(Signal::Logs), self.config.records);
        let batch_config = LogBatchConfig::default()
            .with_max_queue_size(bounds.queue)
            .with_max_export_batch_size(bounds.export)
            .with_scheduled_delay(bounds.delay)
            .build();
        let counting = CountingExporter::new(exporter, Signal::Logs, &self.export_stats, &waiting);
        let batch = BatchLogProcessor::builder(counting).with_batch_config(batch_config).build();
        self.records.push(Box::new(BoundedProcessor::new(
            batch,
            Signal::Logs,
            bounds.queue,
            waiting,
            &self.export_stats,
        )));
        self
    }

    /// Exports metrics with this exporter.
    #[must_use]
    pub fn metrics<E: PushMetricExporter>(mut self, exporter: E) -> Self {
        let counting = CountingExporter::new(exporter, Signal::Metrics, &self.export_stats, &Arc::default());
        let reader = PeriodicReader::builder(counting).with_interval(self.config.interval).build();
        self.readers.push(Box::new(|builder| builder.with_reader(reader)));
        self
    }

    /// Adds the exporters from the settings. One that cannot be built causes a warning.
    #[must_use]
    pub fn with_configured_exporters(mut self) -> Self {
        let config = self.config.clone();
        let mut otlp = |signal, otlp: &Option<OtlpConfig>, bound| {
            let otlp = otlp.as_ref()?;
            Some(OtlpExporters::new(signal, otlp, bound, &self.export_stats, &mut self.warnings))
        };
        let traces = otlp(Signal::Traces, &config.traces.otlp, config.spans.timeout);
        let logs = otlp(Signal::Logs, &config.logs.otlp, config.records.timeout);
        let metrics = otlp(Signal::Metrics, &config.metrics.otlp, config.timeout);
        match traces.map(OtlpExporters::spans).transpose() {
            Ok(exporter) => self = exporter.into_iter().fold(self, Self::otlp_spans),
            Err(error) => self.warnings.push(format!("traces are not pushed: {error}")),
        }
        match logs.map(OtlpExporters::logs).transpose() {
            Ok(exporter) => self = exporter.into_iter().fold(self, Self::records),
            Err(error) => self.warnings.push(format!("logs are not pushed: {error}")),
        }
        match metrics.map(|exporters| exporters.metrics(config.temporality)).transpose() {
            Ok(exporter) => self = exporter.into_iter().fold(self, Self::metrics),
            Err(error) => self.warnings.push(format!("metrics are not pushed: {error}")),
        }
        self.console(&config)
    }

    fn console(mut self, config: &TelemetryConfig) -> Self {
        if config.traces.console {
            self = self.spans(opentelemetry_stdout::SpanExporter::default());
        }
        if config.logs.console {
            self = self.records(opentelemetry_stdout::LogExporter::default());
        }
        if config.metrics.console {
            let exporter =
                opentelemetry_stdout::MetricExporter::builder().with_temporality(config.temporality);
            self = self.metrics(exporter.build());
        }
        self
    }

    /// Builds telemetry. The caller must install the subscriber and log the warnings.
    ///
    /// # Errors
    /// If the Prometheus page cannot be registered.
    pub fn build<W>(mut self, log: &LogConfig, to: W) -> Result<(Telemetry, Dispatch, Vec<String>), InitError>
    where
        W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
    {
        let resource = resource(&self.config, &self.identity);
        let scope = InstrumentationScope::builder("elpio-operator").with_version(self.identity.version);
        let scope = scope.with_schema_url(SCHEMA_URL).build();
        let readers = std::mem::take(&mut self.readers);
        let is_pushed = !readers.is_empty();
        let meters = providers::meters(
            self.with_metrics_endpoint,
            readers,
            &self.export_stats,
            &self.identity,
            (&resource, &scope),
        )?;
        let records = (!self.records.is_empty()).then(|| {
            let processor =
                ObjectLogProcessor::new(std::mem::take(&mut self.records), self.config.record_limits);
            SdkLoggerProvider::builder().with_resource(resource.clone()).with_log_processor(processor).build()
        });
        let exports = !self.spans.is_empty();
        // Without any exporter, no span is recorded, so that no ID refers to a trace that is not stored.
        let sampler: Box<dyn ShouldSample> =
            if exports { providers::sampler(self.config.sampler) } else { Box::new(Sampler::AlwaysOff) };
        let spans = std::mem::take(&mut self.spans);
        let limits = self.config.limits;
        let tracers = providers::tracers(resource, sampler.clone(), limits, spans, &self.export_stats);
        let tracer = tracers.tracer_with_scope(scope.clone());
        let dispatch = log::subscriber(
            log,
            to,
            tracer.clone(),
            records.as_ref(),
            &self.export_stats,
            &mut self.warnings,
        );
        let inner = trace::Inner {
            exports,
            tracer,
            provider: tracers.clone(),
            export_stats: Arc::clone(&self.export_stats),
            sampler,
            logger: records.as_ref().map(|provider| provider.logger_with_scope(scope)),
        };
        let telemetry = Telemetry {
            metrics: Metrics {
                instruments: meters.as_ref().map(|meters| Arc::clone(&meters.instruments)),
                pusher: meters.as_ref().filter(|_| is_pushed).map(|meters| meters.provider.clone()),
                propagate: self.config.propagate && exports,
            },
            traces: Traces { inner: Arc::new(inner) },
            prometheus_endpoint: meters.as_ref().and_then(|meters| meters.prometheus_endpoint.clone()),
            export_stats: self.export_stats,
            waiting: self.waiting,
            tracers,
            records,
            meters: meters.map(|meters| meters.provider),
        };
        Ok((telemetry, dispatch, self.warnings))
    }
}
