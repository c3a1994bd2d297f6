//! Rebuilds an exporter when its certificates change on disk. If the new files are invalid, the exporter
//! stays as it is, and a warning is logged. It changes no item.

use std::{
    fmt, fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use opentelemetry::Context;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    logs::{LogBatch, LogExporter},
    metrics::{Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
};
use parking_lot::Mutex;

/// Files are replaced one after the other: within this time, files that do not match may be half of a rotation.
const ROTATION_TIME: Duration = Duration::from_mins(1);

/// Builds the exporter from the current files; `Err`: why they are invalid, in one line.
type Build<E> = Box<dyn Fn() -> Result<E, String> + Send + Sync>;

/// Identifies the versions of the files.
type Version = Vec<Option<(SystemTime, u64)>>;

/// What an exporter was built from.
struct Loaded<E> {
    version: Version,
    exporter: Arc<E>,
    /// The version that cannot be used instead.
    unusable: Option<Unusable>,
}

struct Unusable {
    version: Version,
    since: Instant,
    reported: bool,
}

/// See the module.
pub(in crate::telemetry) struct ReloadingExporter<E> {
    loaded: Mutex<Loaded<E>>,
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
        let loaded = Loaded { version: version(&files), exporter: Arc::new(exporter), unusable: None };
        let (loaded, runtime) = (Mutex::new(loaded), tokio::runtime::Handle::current());
        Self { loaded, files, build, resource: None, set_resource, runtime }
    }

    /// The exporter for the current files.
    pub(in crate::telemetry) fn current(&self) -> Arc<E> {
        let (exporter, warning) = self.reload(Instant::now());
        if let Some(warning) = warning {
            // To standard error alone, as every line about exports.
            let _suppressed = Context::enter_telemetry_suppressed_scope();
            tracing::warn!("{warning}");
        }
        exporter
    }

    /// The exporter, and why the files are invalid: reported once for each version of them, after a rotation's time.
    fn reload(&self, now: Instant) -> (Arc<E>, Option<String>) {
        let loaded = &mut *self.loaded.lock();
        let found = version(&self.files);
        let mut warning = None;
        if found == loaded.version {
            loaded.unusable = None;
        } else {
            let _inside = self.runtime.enter();
            match (self.build)() {
                Ok(mut exporter) => {
                    if let Some(resource) = &self.resource {
                        (self.set_resource)(&mut exporter, resource);
                    }
                    *loaded = Loaded { version: found, exporter: Arc::new(exporter), unusable: None };
                }
                Err(why) => {
                    let known = loaded.unusable.take().filter(|known| known.version == found);
                    let mut unusable =
                        known.unwrap_or(Unusable { version: found, since: now, reported: false });
                    if !unusable.reported && now >= unusable.since + ROTATION_TIME {
                        (unusable.reported, warning) = (true, Some(why));
                    }
                    loaded.unusable = Some(unusable);
                }
            }
        }
        (Arc::clone(&loaded.exporter), warning)
    }

    pub(in crate::telemetry) fn keep_resource(&mut self, resource: &Resource) {
        self.resource = Some(resource.clone());
        if let Some(exporter) = Arc::get_mut(&mut self.loaded.get_mut().exporter) {
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
        let exporter = Arc::clone(&self.loaded.lock().exporter);
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
        let exporter = Arc::clone(&self.loaded.lock().exporter);
        exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let exporter = Arc::clone(&self.loaded.lock().exporter);
        exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.loaded.lock().exporter.temporality()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]
    use super::*;

    #[tokio::test]
    async fn files_that_cannot_be_used_are_reported_once_a_version() {
        let file = std::env::temp_dir().join(format!("elpio-reloading-{}", std::process::id()));
        let write = |text: &str| fs::write(&file, text).expect("a file is written");
        write("1");
        let path = file.clone();
        let build = move || match fs::read_to_string(&path) {
            Ok(text) => text.parse::<usize>().map_err(|_| format!("{text} is no number")),
            Err(error) => Err(error.to_string()),
        };
        let exporter = ReloadingExporter::new(1, vec![file.clone()], |_, _| (), Box::new(build));
        let start = Instant::now();
        // Each version has another length, since two may be written within a tick of the clock.
        for (text, seconds, expected, warning) in [
            ("1", 0, 1, None),
            ("a half", 10, 1, None),
            ("a half", 69, 1, None),
            ("22", 70, 22, None),
            ("broken", 80, 22, None),
            ("broken", 140, 22, Some("broken is no number")),
            ("broken", 600, 22, None),
            ("still broken", 601, 22, None),
            ("still broken", 700, 22, Some("still broken is no number")),
            ("333", 701, 333, None),
        ] {
            if fs::read_to_string(&file).ok().as_deref() != Some(text) {
                write(text);
            }
            let (current, found) = exporter.reload(start + Duration::from_secs(seconds));
            assert_eq!((*current, found.as_deref()), (expected, warning), "{text} after {seconds} s");
        }
        fs::remove_file(&file).expect("it is removed");
    }
}
