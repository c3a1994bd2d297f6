//! The running telemetry and its shutdown: flushes everything within a bound and returns the losses. It
//! starts nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use opentelemetry_sdk::{
    error::OTelSdkResult, logs::SdkLoggerProvider, metrics::SdkMeterProvider, trace::SdkTracerProvider,
};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use crate::telemetry::{
    catalog::attributes::Signal, metrics::Metrics, prometheus::endpoint::PrometheusEndpoint,
    sources::export_stats::ExportStats, trace::Traces,
};

/// How long to wait for the last spans to end: nothing runs any more, but another thread may still drop a
/// span's handle.
const OPEN_SPANS_TIMEOUT: Duration = Duration::from_secs(1);

/// The running telemetry; end it with [`Telemetry::shutdown`].
pub struct Telemetry {
    pub(in crate::telemetry) metrics: Metrics,
    pub(in crate::telemetry) traces: Traces,
    pub(in crate::telemetry) prometheus_endpoint: Option<PrometheusEndpoint>,
    pub(in crate::telemetry) export_stats: Arc<ExportStats>,
    pub(in crate::telemetry) waiting: Vec<(Signal, Arc<AtomicUsize>)>,
    pub(in crate::telemetry) tracers: SdkTracerProvider,
    pub(in crate::telemetry) records: Option<SdkLoggerProvider>,
    pub(in crate::telemetry) meters: Option<SdkMeterProvider>,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry")
            .field("metrics", &self.metrics)
            .field("prometheus_endpoint", &self.prometheus_endpoint)
            .finish_non_exhaustive()
    }
}

type ShutdownFn = Box<dyn FnOnce() -> OTelSdkResult + Send>;

impl Telemetry {
    /// The handle for recording; cheap to clone.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// The handle for traces; cheap to clone.
    #[must_use]
    pub fn traces(&self) -> Traces {
        self.traces.clone()
    }

    /// The Prometheus page; `None` if `ELPIO_METRICS` is off.
    #[must_use]
    pub fn metrics_endpoint(&self) -> Option<PrometheusEndpoint> {
        self.prometheus_endpoint.clone()
    }

    /// Exports everything pending. Blocks: do not call it on a thread of the runtime.
    pub fn flush(&self) {
        // The exporters' wrappers count and log failures.
        let _ = self.tracers.force_flush();
        let _ = self.records.as_ref().map(SdkLoggerProvider::force_flush);
        let _ = self.meters.as_ref().map(SdkMeterProvider::force_flush);
    }

    /// Flushes and ends all signals concurrently, within `bound`; returns the losses. Afterwards, the page is
    /// empty.
    pub async fn shutdown(self, bound: Duration) -> Vec<String> {
        let until = Instant::now() + bound;
        self.export_stats.open_spans.wait_until_none(OPEN_SPANS_TIMEOUT.min(bound)).await;
        let before: Vec<u64> =
            Signal::ALL.iter().map(|signal| self.export_stats.dropped(*signal).1).collect();
        let running: Vec<_> = self
            .shutdown_fns(bound)
            .into_iter()
            .map(|(signal, ending)| (signal, on_thread(ending)))
            .collect();
        let mut losses = Vec::new();
        for (signal, ended) in running {
            let error = match timeout_at(until, ended).await {
                Ok(Ok(Ok(()))) => None,
                Ok(Ok(Err(error))) => Some(error.to_string()),
                Ok(Err(_)) => Some("its thread ended".to_owned()),
                Err(_) => Some(format!("not done within {} s", bound.as_secs_f64())),
            };
            let lost = self.waiting(signal) + self.export_stats.dropped(signal).1 - before[signal as usize];
            match error {
                Some(error) => losses.push(format!("{signal}: {error}; {lost} items lost")),
                None if lost > 0 => losses.push(format!("{signal}: {lost} items lost")),
                None => {}
            }
        }
        losses
    }

    fn shutdown_fns(&self, bound: Duration) -> Vec<(Signal, ShutdownFn)> {
        let mut endings: Vec<(Signal, ShutdownFn)> = Vec::new();
        if self.waiting.iter().any(|(signal, _)| *signal == Signal::Traces) {
            let tracers = self.tracers.clone();
            endings.push((Signal::Traces, Box::new(move || tracers.shutdown_with_timeout(bound))));
        }
        if let Some(records) = self.records.clone() {
            endings.push((Signal::Logs, Box::new(move || records.shutdown_with_timeout(bound))));
        }
        // Takes up to five seconds whatever the bound is (opentelemetry_sdk 0.33), so it is abandoned at the
        // bound.
        if let Some(meters) = self.meters.clone() {
            endings.push((Signal::Metrics, Box::new(move || meters.shutdown_with_timeout(bound))));
        }
        endings
    }

    fn waiting(&self, signal: Signal) -> u64 {
        let of_signal = self.waiting.iter().filter(|(other, _)| *other == signal);
        of_signal.map(|(_, waiting)| u64::try_from(waiting.load(Ordering::Acquire)).unwrap_or(u64::MAX)).sum()
    }
}

/// On a separate thread: a blocking task would keep the runtime from ending, and blocking a worker thread
/// would keep it from sending.
fn on_thread(ending: ShutdownFn) -> oneshot::Receiver<OTelSdkResult> {
    let (done, ended) = oneshot::channel();
    std::thread::spawn(move || {
        // Nobody waits for the result after the bound.
        let _ = done.send(ending());
    });
    ended
}
