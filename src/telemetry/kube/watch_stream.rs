//! Counts what a watch delivers; it passes every item on as it is.

use std::sync::Arc;

use futures::{Stream, StreamExt};
use kube::runtime::watcher::{self, Event};

use crate::telemetry::{
    catalog::resources::{WatchedResource, watched},
    metrics::{Instruments, Metrics},
};

/// While it lives, the resource is watched.
struct StreamGuard {
    instruments: Option<Arc<Instruments>>,
    resource: WatchedResource,
}

impl StreamGuard {
    fn begin(instruments: Option<Arc<Instruments>>, resource: WatchedResource) -> Self {
        if let Some(on) = &instruments {
            on.ages.begin(resource.as_str());
        }
        Self { instruments, resource }
    }

    fn count<K>(&self, item: &Result<Event<K>, watcher::Error>) {
        let Some(on) = &self.instruments else { return };
        match item {
            Ok(Event::Apply(_) | Event::Delete(_) | Event::InitApply(_)) => {
                on.watch_events.add(1, [self.resource.into()]);
            }
            Ok(Event::Init | Event::InitDone) => {}
            // kube's watcher begins again after each of its errors.
            Err(_) => on.watch_restarts.add(1, [self.resource.into()]),
        }
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        if let Some(on) = &self.instruments {
            on.ages.end(self.resource.as_str());
        }
    }
}

impl Metrics {
    /// Counts the events and restarts of a watch stream of `resource`, named as in the table: by its kind,
    /// with
    /// `KnativeService` for Knative's. While the stream lives, the age of the watch is shown.
    pub fn watch<S, K>(
        &self,
        resource: &'static str,
        stream: S,
    ) -> impl Stream<Item = S::Item> + Send + use<S, K>
    where
        S: Stream<Item = Result<Event<K>, watcher::Error>> + Send,
        K: Send,
    {
        // What the table does not know cannot be counted.
        let known = watched(resource);
        debug_assert!(known.is_some(), "{resource} is not in the table");
        let guard = known.map(|resource| StreamGuard::begin(self.instruments.clone(), resource));
        stream.inspect(move |item| guard.iter().for_each(|guard| guard.count(item)))
    }
}
