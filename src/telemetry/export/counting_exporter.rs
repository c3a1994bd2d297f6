//! Wraps every exporter, and counts delivered and lost items; it changes no item.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    logs::{LogBatch, LogExporter},
    metrics::{
        Temporality,
        data::{AggregatedMetrics, MetricData, ResourceMetrics},
        exporter::PushMetricExporter,
    },
    trace::{SpanData, SpanExporter},
};

use crate::telemetry::{
    catalog::attributes::Signal,
    sources::export_stats::{ExportLogLine, ExportStats},
};

/// An exporter with the statistics of its signal.
pub(in crate::telemetry) struct CountingExporter<E> {
    pub(in crate::telemetry) inner: E,
    signal: Signal,
    export_stats: Arc<ExportStats>,
    /// Items that the processor in front accepted and the exporter has not taken yet.
    queued: Arc<AtomicUsize>,
}

impl<E> CountingExporter<E> {
    pub(in crate::telemetry) fn new(
        inner: E,
        signal: Signal,
        export_stats: &Arc<ExportStats>,
        waiting: &Arc<AtomicUsize>,
    ) -> Self {
        Self { inner, signal, export_stats: Arc::clone(export_stats), queued: Arc::clone(waiting) }
    }

    pub(in crate::telemetry) fn dequeued(&self, items: usize) {
        // Must not go below zero: the processor in front may not have counted an item.
        let _ = self
            .queued
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |waiting| Some(waiting.saturating_sub(items)));
    }

    pub(in crate::telemetry) fn record_result(&self, lost: usize, result: &OTelSdkResult) {
        let failure = result.as_ref().err().map(ToString::to_string);
        let lost = u64::try_from(lost).unwrap_or(u64::MAX);
        match self.export_stats.record_export(self.signal, lost, failure.as_deref(), Instant::now()) {
            Some(ExportLogLine::Failing(text)) => tracing::warn!("{text}"),
            Some(ExportLogLine::Recovered(text)) => tracing::info!("{text}"),
            None => {}
        }
        if let Some(text) = self.export_stats.rejection_line(self.signal, Instant::now()) {
            tracing::warn!("{text}");
        }
    }
}

// Exporters may hold headers: never use their own `Debug`.
impl<E> fmt::Debug for CountingExporter<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CountingExporter").field("signal", &self.signal).finish_non_exhaustive()
    }
}

impl<E: SpanExporter> SpanExporter for CountingExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let items = batch.len();
        self.dequeued(items);
        let result = self.inner.export(batch).await;
        self.record_result(items, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: LogExporter> LogExporter for CountingExporter<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let items = batch.iter().count();
        self.dequeued(items);
        let result = self.inner.export(batch).await;
        self.record_result(items, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for CountingExporter<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = self.inner.export(metrics).await;
        // With cumulative temporality, the next export delivers what this one lost.
        let lost = if self.inner.temporality() == Temporality::Cumulative { 0 } else { data_points(metrics) };
        self.record_result(lost, &result);
        result
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.inner.temporality()
    }
}

fn data_points(metrics: &ResourceMetrics) -> usize {
    fn of<T>(data: &MetricData<T>) -> usize {
        match data {
            MetricData::Gauge(gauge) => gauge.data_points().count(),
            MetricData::Sum(sum) => sum.data_points().count(),
            MetricData::Histogram(histogram) => histogram.data_points().count(),
            MetricData::ExponentialHistogram(histogram) => histogram.data_points().count(),
        }
    }
    let all = metrics.scope_metrics().flat_map(opentelemetry_sdk::metrics::data::ScopeMetrics::metrics);
    all.map(|metric| match metric.data() {
        AggregatedMetrics::F64(data) => of(data),
        AggregatedMetrics::U64(data) => of(data),
        AggregatedMetrics::I64(data) => of(data),
    })
    .sum()
}
