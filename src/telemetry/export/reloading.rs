//! Rebuilds an exporter when its certificates change on disk. If the new files are invalid, the exporter
//! stays as it is. It changes no item.

use std::{
    fmt, fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    logs::{LogBatch, LogExporter},
    metrics::{Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
};
use parking_lot::Mutex;

/// Builds the exporter from the current files; `None` if they are invalid.
type Build<E> = Box<dyn Fn() -> Option<E> + Send + Sync>;

/// Identifies the versions of the files.
type Version = Vec<Option<(SystemTime, u64)>>;

/// See the module.
pub(in crate::telemetry) struct ReloadingExporter<E> {
    current: Mutex<(Version, Arc<E>)>,
    files: Vec<PathBuf>,
    build: Build<E>,
    resource: Option<Resource>,
    set_resource: fn(&mut E, &Resource),
    /// An exporter connects on the runtime, but the SDK exports logs and metrics on its own threads.
    runtime: tokio::runtime::Handle,
}

impl<E> ReloadingExporter<E> {
    /// Must be called inside a tokio runtime.
    pub(in crate::telemetry) fn new(
        exporter: E,
        files: Vec<PathBuf>,
        set_resource: fn(&mut E, &Resource),
        build: Build<E>,
    ) -> Self {
        let current = Mutex::new((version(&files), Arc::new(exporter)));
        let runtime = tokio::runtime::Handle::current();
        Self { current, files, build, resource: None, set_resource, runtime }
    }

    /// The exporter for the current files.
    pub(in crate::telemetry) fn current(&self) -> Arc<E> {
        let mut current = self.current.lock();
        let now = version(&self.files);
        if now != current.0 {
            let _inside = self.runtime.enter();
            if let Some(mut exporter) = (self.build)() {
                if let Some(resource) = &self.resource {
                    (self.set_resource)(&mut exporter, resource);
                }
                *current = (now, Arc::new(exporter));
            }
        }
        Arc::clone(&current.1)
    }

    pub(in crate::telemetry) fn keep_resource(&mut self, resource: &Resource) {
        self.resource = Some(resource.clone());
        if let Some(exporter) = Arc::get_mut(&mut self.current.get_mut().1) {
            (self.set_resource)(exporter, resource);
        }
    }
}

/// Files mounted into a pod are symlinks; their targets count.
fn version(files: &[PathBuf]) -> Version {
    let of_file = |path: &PathBuf| {
        let found = fs::metadata(path).ok()?;
        Some((found.modified().ok()?, found.len()))
    };
    files.iter().map(of_file).collect()
}

impl<E> fmt::Debug for ReloadingExporter<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReloadingExporter").field("files", &self.files).finish_non_exhaustive()
    }
}

impl<E: LogExporter> LogExporter for ReloadingExporter<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let exporter = self.current();
        exporter.export(batch).await
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let exporter = Arc::clone(&self.current.lock().1);
        exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.keep_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for ReloadingExporter<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let exporter = self.current();
        exporter.export(metrics).await
    }

    fn force_flush(&self) -> OTelSdkResult {
        let exporter = Arc::clone(&self.current.lock().1);
        exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let exporter = Arc::clone(&self.current.lock().1);
        exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.current.lock().1.temporality()
    }
}
