//! Counts what a watch delivers, and shows its age while it lives; it sees no object.

use std::sync::Arc;

use crate::telemetry::metrics::{Instruments, Metrics};

/// While it lives, the resource is watched at this path.
pub struct WatchGuard {
    instruments: Option<Arc<Instruments>>,
    resource: &'static str,
    path: String,
}

impl WatchGuard {
    /// Objects came, by a list or by a watch.
    pub fn record_events(&self, count: usize) {
        if let Some(on) = &self.instruments {
            on.watch_events.add(u64::try_from(count).unwrap_or(u64::MAX), [self.resource]);
        }
    }

    /// It broke, and begins again.
    pub fn record_restart(&self) {
        if let Some(on) = &self.instruments {
            on.watch_restarts.add(1, [self.resource]);
        }
    }
}

impl Drop for WatchGuard {
    fn drop(&mut self) {
        if let Some(on) = &self.instruments {
            on.ages.end(self.resource, &self.path);
        }
    }
}

impl Metrics {
    /// Counts the events and restarts of the watch of `resource`, named as in the table: by its kind, with
    /// `KnativeService` for Knative's; `path` is that of its requests. While the guard lives, its age is
    /// shown.
    #[must_use]
    pub fn watch_guard(&self, resource: &'static str, path: &str) -> WatchGuard {
        if let Some(on) = &self.instruments {
            on.ages.begin(resource);
        }
        WatchGuard { instruments: self.instruments.clone(), resource, path: path.to_owned() }
    }
}
