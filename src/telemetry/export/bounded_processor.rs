//! Bounds the queue of the batch processor behind it; it changes no item.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    logs::{LogProcessor, SdkLogRecord},
    trace::{Span, SpanData, SpanProcessor},
};

use crate::telemetry::{catalog::attributes::Signal, sources::export_stats::ExportStats};

/// Drops items that exceed the queue's capacity, and counts them; the SDK counts them only for a final log
/// line.
pub(in crate::telemetry) struct BoundedProcessor<P> {
    inner: P,
    signal: Signal,
    room: usize,
    queued: Arc<AtomicUsize>,
    export_stats: Arc<ExportStats>,
}

impl<P> BoundedProcessor<P> {
    pub(in crate::telemetry) fn new(
        inner: P,
        signal: Signal,
        room: usize,
        waiting: Arc<AtomicUsize>,
        export_stats: &Arc<ExportStats>,
    ) -> Self {
        Self { inner, signal, room, queued: waiting, export_stats: Arc::clone(export_stats) }
    }

    fn try_enqueue(&self) -> bool {
        let room = |waiting| (waiting < self.room).then_some(waiting + 1);
        let admitted = self.queued.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).is_ok();
        if !admitted {
            self.export_stats.record_queue_full(self.signal, 1);
        }
        admitted
    }
}

impl<P> fmt::Debug for BoundedProcessor<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedProcessor")
            .field("signal", &self.signal)
            .field("room", &self.room)
            .finish_non_exhaustive()
    }
}

impl<P: SpanProcessor> SpanProcessor for BoundedProcessor<P> {
    fn on_start(&self, span: &mut Span, parent: &opentelemetry::Context) {
        self.inner.on_start(span, parent);
    }

    fn on_end(&self, span: SpanData) {
        // The batch processor skips unsampled spans.
        if span.span_context.is_sampled() && self.try_enqueue() {
            self.inner.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<P: LogProcessor> LogProcessor for BoundedProcessor<P> {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        if self.try_enqueue() {
            self.inner.emit(record, scope);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
