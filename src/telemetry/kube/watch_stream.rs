//! Counts what a watch delivers, and shows its age while it lives; it sees no object.

use std::sync::Arc;

use crate::telemetry::{
    catalog::resources::{WatchedResource, watched},
    metrics::{Instruments, Metrics},
};

/// While it lives, the resource is watched at this path.
pub struct WatchGuard {
    instruments: Option<Arc<Instruments>>,
    /// What the table does not know cannot be counted.
    resource: Option<WatchedResource>,
    path: String,
}

impl WatchGuard {
    /// Objects came, by a list or by a watch.
    pub fn record_events(&self, count: usize) {
        if let Some((on, resource)) = self.instruments.as_ref().zip(self.resource) {
            on.watch_events.add(u64::try_from(count).unwrap_or(u64::MAX), [resource.into()]);
        }
    }

    /// It broke, and begins again.
    pub fn record_restart(&self) {
        if let Some((on, resource)) = self.instruments.as_ref().zip(self.resource) {
            on.watch_restarts.add(1, [resource.into()]);
        }
    }
}

impl Drop for WatchGuard {
    fn drop(&mut self) {
        if let Some((on, resource)) = self.instruments.as_ref().zip(self.resource) {
            on.watch_activity.end(resource.as_str(), &self.path);
        }
    }
}

impl Metrics {
    /// Counts the events and restarts of the watch of `resource`, named as in the table: by its kind, with
    /// `KnativeService` for Knative's; `path` is that of its requests. While the guard lives, its age is
    /// shown.
    #[must_use]
    pub fn watch_guard(&self, resource: &'static str, path: &str) -> WatchGuard {
        let resource = watched(resource);
        debug_assert!(resource.is_some(), "the resource of {path} is not in the table");
        if let Some((on, resource)) = self.instruments.as_ref().zip(resource) {
            on.watch_activity.begin(resource.as_str());
        }
        WatchGuard { instruments: self.instruments.clone(), resource, path: path.to_owned() }
    }
}
