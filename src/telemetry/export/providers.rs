//! Builds the SDK's providers from processors and readers; it knows no exporters.

use std::sync::Arc;

use opentelemetry::{InstrumentationScope, metrics::MeterProvider as _};
use opentelemetry_sdk::{
    Resource,
    metrics::{Instrument, MeterProviderBuilder, SdkMeterProvider, Stream},
    trace::{Sampler, SdkTracerProvider, ShouldSample, SpanProcessor},
};

use crate::telemetry::{
    catalog::instruments,
    config::{
        Identity, InitError,
        limits::SpanLimits,
        sampler::{RootSampler, SamplerChoice},
    },
    metrics::Instruments,
    prometheus::{endpoint::PrometheusEndpoint, exemplars::ExemplarReservoir},
    sources::export_stats::ExportStats,
    trace::{ids::PresetIdGenerator, sampler::RolloutSampler, tail_sampling::TailSamplingProcessor},
};

/// Adds a metric reader to a provider.
pub(in crate::telemetry) type AddReader = Box<dyn FnOnce(MeterProviderBuilder) -> MeterProviderBuilder>;

/// The instruments and their readers.
pub(in crate::telemetry) struct Meters {
    pub(in crate::telemetry) instruments: Arc<Instruments>,
    pub(in crate::telemetry) prometheus_endpoint: Option<PrometheusEndpoint>,
    pub(in crate::telemetry) provider: SdkMeterProvider,
}

/// The instruments; `None` without any reader.
pub(in crate::telemetry) fn meters(
    with_metrics_endpoint: bool,
    readers: Vec<AddReader>,
    export_stats: &Arc<ExportStats>,
    identity: &Identity,
    (resource, scope): (&Resource, &InstrumentationScope),
) -> Result<Option<Meters>, InitError> {
    if !with_metrics_endpoint && readers.is_empty() {
        return Ok(None);
    }
    let mut builder = SdkMeterProvider::builder().with_resource(resource.clone()).with_view(limits);
    let mut prometheus_endpoint = None;
    let exemplars = with_metrics_endpoint.then(Arc::<ExemplarReservoir>::default);
    if let Some(exemplars) = &exemplars {
        let registry = prometheus::Registry::new();
        let reader = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .build();
        builder = builder.with_reader(reader.map_err(InitError::from_error)?);
        prometheus_endpoint = Some(PrometheusEndpoint::new(registry, Arc::clone(exemplars)));
    }
    let provider = readers.into_iter().fold(builder, |builder, add| add(builder)).build();
    let meter = provider.meter_with_scope(scope.clone());
    let instruments = Arc::new(Instruments::new(&meter, export_stats, exemplars.as_ref(), identity));
    Ok(Some(Meters { instruments, prometheus_endpoint, provider }))
}

/// The tracer provider, with the tail-sampling processor in front of the others.
pub(in crate::telemetry) fn tracers(
    resource: Resource,
    sampler: Box<dyn ShouldSample>,
    limits: SpanLimits,
    spans: Vec<Box<dyn SpanProcessor>>,
    export_stats: &Arc<ExportStats>,
) -> SdkTracerProvider {
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
    if spans.is_empty() {
        return builder.build();
    }
    let tail = TailSamplingProcessor::new(spans, Arc::clone(export_stats), limits.value_length);
    builder.with_span_processor(tail).build()
}

/// The cardinality limit of each instrument in the table.
fn limits(instrument: &Instrument) -> Option<Stream> {
    let row = instruments::find(instrument.name())?;
    Stream::builder().with_cardinality_limit(row.cardinality_limit).build().ok()
}

/// The configured sampler.
pub(in crate::telemetry) fn sampler(choice: SamplerChoice) -> Box<dyn ShouldSample> {
    let root = match choice.root {
        RootSampler::On => Sampler::AlwaysOn,
        RootSampler::Off => Sampler::AlwaysOff,
        RootSampler::Ratio(ratio) => Sampler::TraceIdRatioBased(ratio),
    };
    if choice.parent_based { Box::new(Sampler::parent_based(root)) } else { Box::new(root) }
}
