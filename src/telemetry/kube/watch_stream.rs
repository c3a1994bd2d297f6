//! Counts the events of a watch and reports its age while it runs; it sees no objects.

use std::sync::Arc;

use crate::telemetry::{
    catalog::resources::{WatchedResource, watched},
    metrics::{Instruments, Metrics},
};

/// Reports the watch of a resource at this path, until dropped.
pub struct WatchGuard {
    instruments: Option<Arc<Instruments>>,
    /// `None` if the resource is not in the table: it is not counted.
    resource: Option<WatchedResource>,
    path: String,
}

impl WatchGuard {
    /// Counts objects from a list or a watch.
    pub fn record_events(&self, count: usize) {
        if let Some((on, resource)) = self.instruments.as_ref().zip(self.resource) {
            on.watch_events.add(u64::try_from(count).unwrap_or(u64::MAX), [resource.into()]);
        }
    }

    /// Counts a restart after a failure.
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
    /// Counts the events and restarts of the watch of `resource`, and reports its age until the guard is
    /// dropped. `resource` is the table's label: the kind, or `KnativeService` for Knative's Service. `path`
    /// is the path of its requests.
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
