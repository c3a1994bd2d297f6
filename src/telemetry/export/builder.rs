//! Builds telemetry from its parts: exporters in, providers, subscriber and handles out; it sets nothing
//! global.

use std::sync::{Arc, atomic::AtomicUsize};

use opentelemetry::{
    InstrumentationScope, logs::LoggerProvider as _, metrics::MeterProvider as _, trace::TracerProvider as _,
};
use opentelemetry_sdk::{
    Resource,
    logs::{
        BatchConfigBuilder as LogBatchConfig, BatchLogProcessor, LogExporter, LogProcessor, SdkLoggerProvider,
    },
    metrics::{
        Instrument, MeterProviderBuilder, PeriodicReader, SdkMeterProvider, Stream,
        exporter::PushMetricExporter,
    },
    trace::{
        BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, ShouldSample, SpanExporter,
        SpanProcessor,
    },
};
use tracing::Dispatch;
use tracing_subscriber::fmt::MakeWriter;

use crate::telemetry::{
    InitError, Telemetry,
    catalog::{attributes::Signal, instruments},
    config::{
        Identity, LogConfig, RootSampler, SamplerChoice, TelemetryConfig, Temporality, resource::resource,
    },
    export::{
        counting_exporter::{BoundedProcessor, CountingExporter},
        otlp::OtlpExporters,
    },
    log::{self, processor::ObjectLogProcessor},
    metrics::{Instruments, Metrics},
    prometheus::{endpoint::PrometheusEndpoint, exemplars::ExemplarReservoir},
    sources::export_stats::ExportStats,
    trace::{
        self, Traces,
        ids::{PresetIdGenerator, RolloutSampler},
        tail_sampling::TailSamplingProcessor,
    },
};

type AddReader = Box<dyn FnOnce(MeterProviderBuilder) -> MeterProviderBuilder>;

/// Telemetry that is being put together: by [`super::init`] with the exporters that the settings name, in
/// tests with others.
pub struct TelemetryBuilder {
    settings: TelemetryConfig,
    identity: Identity,
    page: bool,
    delivery: Arc<ExportStats>,
    spans: Vec<Box<dyn SpanProcessor>>,
    records: Vec<Box<dyn LogProcessor>>,
    readers: Vec<AddReader>,
    waiting: Vec<(Signal, Arc<AtomicUsize>)>,
    warnings: Vec<String>,
}

impl std::fmt::Debug for TelemetryBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("settings", &self.settings)
            .field("page", &self.page)
            .finish_non_exhaustive()
    }
}

impl TelemetryBuilder {
    /// Neither page nor exporters yet.
    #[must_use]
    pub fn new(settings: TelemetryConfig, identity: Identity) -> Self {
        Self {
            settings,
            identity,
            page: false,
            delivery: Arc::default(),
            spans: Vec::new(),
            records: Vec::new(),
            readers: Vec::new(),
            waiting: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// With the Prometheus page, or without.
    #[must_use]
    pub fn with_page(mut self, on: bool) -> Self {
        self.page = on && !self.settings.disabled;
        if on && self.settings.disabled {
            self.warnings.push(
                "OTEL_SDK_DISABLED=\"true\": no telemetry at all; ELPIO_METRICS is without effect".to_owned(),
            );
        }
        self
    }

    fn queue(&mut self, signal: Signal) -> Arc<AtomicUsize> {
        let waiting = Arc::<AtomicUsize>::default();
        self.waiting.push((signal, Arc::clone(&waiting)));
        waiting
    }

    /// Pushes spans through this exporter.
    #[must_use]
    pub fn spans<E: SpanExporter + 'static>(mut self, exporter: E) -> Self {
        let (waiting, bounds) = (self.queue(Signal::Traces), self.settings.spans);
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(bounds.queue)
            .with_max_export_batch_size(bounds.export)
            .with_scheduled_delay(bounds.delay)
            .build();
        let watched = CountingExporter::new(exporter, Signal::Traces, &self.delivery, &waiting);
        let batch = BatchSpanProcessor::builder(watched).with_batch_config(config).build();
        self.spans.push(Box::new(BoundedProcessor::new(
            batch,
            Signal::Traces,
            bounds.queue,
            waiting,
            &self.delivery,
        )));
        self
    }

    /// Pushes log records through this exporter.
    #[must_use]
    pub fn records<E: LogExporter + 'static>(mut self, exporter: E) -> Self {
        let (waiting, bounds) = (self.queue(Signal::Logs), self.settings.records);
        let config = LogBatchConfig::default()
            .with_max_queue_size(bounds.queue)
            .with_max_export_batch_size(bounds.export)
            .with_scheduled_delay(bounds.delay)
            .build();
        let watched = CountingExporter::new(exporter, Signal::Logs, &self.delivery, &waiting);
        let batch = BatchLogProcessor::builder(watched).with_batch_config(config).build();
        self.records.push(Box::new(BoundedProcessor::new(
            batch,
            Signal::Logs,
            bounds.queue,
            waiting,
            &self.delivery,
        )));
        self
    }

    /// Pushes metrics through this exporter.
    #[must_use]
    pub fn metrics<E: PushMetricExporter>(mut self, exporter: E) -> Self {
        let watched = CountingExporter::new(exporter, Signal::Metrics, &self.delivery, &Arc::default());
        let reader = PeriodicReader::builder(watched).with_interval(self.settings.interval).build();
        self.readers.push(Box::new(|builder| builder.with_reader(reader)));
        self
    }

    /// Adds the exporters that the settings name. One that cannot be built is a warning.
    #[must_use]
    pub fn with_configured_exporters(mut self) -> Self {
        let settings = self.settings.clone();
        if let Some(otlp) = &settings.traces.otlp {
            match OtlpExporters::new(
                Signal::Traces,
                otlp,
                settings.spans.timeout,
                &self.delivery,
                &mut self.warnings,
            )
            .spans()
            {
                Ok(exporter) => self = self.spans(exporter),
                Err(error) => self.warnings.push(format!("traces are not pushed: {error}")),
            }
        }
        if let Some(otlp) = &settings.logs.otlp {
            match OtlpExporters::new(
                Signal::Logs,
                otlp,
                settings.records.timeout,
                &self.delivery,
                &mut self.warnings,
            )
            .logs()
            {
                Ok(exporter) => self = self.records(exporter),
                Err(error) => self.warnings.push(format!("logs are not pushed: {error}")),
            }
        }
        if let Some(otlp) = &settings.metrics.otlp {
            match OtlpExporters::new(
                Signal::Metrics,
                otlp,
                settings.timeout,
                &self.delivery,
                &mut self.warnings,
            )
            .metrics(settings.temporality)
            {
                Ok(exporter) => self = self.metrics(exporter),
                Err(error) => self.warnings.push(format!("metrics are not pushed: {error}")),
            }
        }
        self.console(&settings)
    }

    fn console(mut self, settings: &TelemetryConfig) -> Self {
        if settings.traces.console {
            self = self.spans(opentelemetry_stdout::SpanExporter::default());
        }
        if settings.logs.console {
            self = self.records(opentelemetry_stdout::LogExporter::default());
        }
        if settings.metrics.console {
            let exporter = opentelemetry_stdout::MetricExporter::builder()
                .with_temporality(sdk_temporality(settings.temporality));
            self = self.metrics(exporter.build());
        }
        self
    }

    /// Puts it together. The subscriber is for the caller to install; the lines are for the caller to log.
    ///
    /// # Errors
    /// When the page cannot be joined to the instruments.
    pub fn build<W>(mut self, log: &LogConfig, to: W) -> Result<(Telemetry, Dispatch, Vec<String>), InitError>
    where
        W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
    {
        let resource = resource(&self.settings, &self.identity);
        let scope =
            InstrumentationScope::builder("elpio-operator").with_version(self.identity.version).build();
        let (instruments, page, meters) = self.meters(&resource, &scope)?;
        let records = (!self.records.is_empty()).then(|| {
            let about =
                ObjectLogProcessor::new(std::mem::take(&mut self.records), self.settings.record_limits);
            SdkLoggerProvider::builder().with_resource(resource.clone()).with_log_processor(about).build()
        });
        let exports = !self.spans.is_empty();
        // With nowhere to go no span is recorded, so that no id points to a trace that nobody stored.
        let sampler: Box<dyn ShouldSample> =
            if exports { sampler(self.settings.sampler) } else { Box::new(Sampler::AlwaysOff) };
        let tracers = self.tracers(resource, sampler.clone());
        let tracer = tracers.tracer_with_scope(scope.clone());
        let dispatch = log::subscriber(log, to, tracer.clone(), records.as_ref(), &mut self.warnings);
        let inner = trace::Inner {
            exports,
            tracer,
            sampler,
            logger: records.as_ref().map(|provider| provider.logger_with_scope(scope)),
        };
        let telemetry = Telemetry {
            metrics: Metrics { instruments, propagate: self.settings.propagate },
            traces: Traces { inner: Arc::new(inner) },
            page,
            delivery: self.delivery,
            waiting: self.waiting,
            tracers,
            records,
            meters,
        };
        Ok((telemetry, dispatch, self.warnings))
    }

    #[allow(clippy::type_complexity)] // three parts of one thing, taken apart at once by the one caller
    fn meters(
        &mut self,
        resource: &Resource,
        scope: &InstrumentationScope,
    ) -> Result<(Option<Arc<Instruments>>, Option<PrometheusEndpoint>, Option<SdkMeterProvider>), InitError>
    {
        if !self.page && self.readers.is_empty() {
            return Ok((None, None, None));
        }
        let mut builder = SdkMeterProvider::builder().with_resource(resource.clone()).with_view(limits);
        let mut page = None;
        let exemplars = self.page.then(Arc::<ExemplarReservoir>::default);
        if let Some(exemplars) = &exemplars {
            let registry = prometheus::Registry::new();
            let reader = opentelemetry_prometheus::exporter()
                .with_registry(registry.clone())
                .scope_info_enabled(false)
                .build();
            builder = builder.with_reader(reader.map_err(|error| InitError(error.to_string()))?);
            page = Some(PrometheusEndpoint::new(registry, Arc::clone(exemplars)));
        }
        for add in self.readers.drain(..) {
            builder = add(builder);
        }
        let provider = builder.build();
        let meter = provider.meter_with_scope(scope.clone());
        let instruments = Instruments::new(&meter, &self.delivery, exemplars.as_ref(), &self.identity);
        Ok((Some(Arc::new(instruments)), page, Some(provider)))
    }

    fn tracers(&mut self, resource: Resource, sampler: Box<dyn ShouldSample>) -> SdkTracerProvider {
        let limits = self.settings.limits;
        let mut builder = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(RolloutSampler(sampler))
            .with_id_generator(PresetIdGenerator::default());
        let count = |limit: Option<usize>| limit.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX));
        if let Some(most) = count(limits.attributes) {
            builder = builder.with_max_attributes_per_span(most);
        }
        if let Some(most) = count(limits.events) {
            builder = builder.with_max_events_per_span(most);
        }
        if let Some(most) = count(limits.links) {
            builder = builder.with_max_links_per_span(most);
        }
        if self.spans.is_empty() {
            return builder.build();
        }
        let quiet = TailSamplingProcessor::new(
            std::mem::take(&mut self.spans),
            Arc::clone(&self.delivery),
            limits.value_length,
        );
        builder.with_span_processor(quiet).build()
    }
}

/// The table's limit for each instrument.
fn limits(instrument: &Instrument) -> Option<Stream> {
    let row = instruments::find(instrument.name())?;
    Stream::builder().with_cardinality_limit(row.cardinality_limit).build().ok()
}

fn sampler(choice: SamplerChoice) -> Box<dyn ShouldSample> {
    let root = match choice.root {
        RootSampler::On => Sampler::AlwaysOn,
        RootSampler::Off => Sampler::AlwaysOff,
        RootSampler::Ratio(ratio) => Sampler::TraceIdRatioBased(ratio),
    };
    if choice.parent_based { Box::new(Sampler::parent_based(root)) } else { Box::new(root) }
}

/// The SDK's word for it.
pub(in crate::telemetry) fn sdk_temporality(wanted: Temporality) -> opentelemetry_sdk::metrics::Temporality {
    match wanted {
        Temporality::Cumulative => opentelemetry_sdk::metrics::Temporality::Cumulative,
        Temporality::Delta => opentelemetry_sdk::metrics::Temporality::Delta,
        Temporality::LowMemory => opentelemetry_sdk::metrics::Temporality::LowMemory,
    }
}
