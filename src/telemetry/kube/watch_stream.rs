//! Counts what a watch delivers; it passes every item on as it is.

use std::sync::Arc;

use futures::{Stream, StreamExt};
use kube::runtime::watcher::{self, Event};

use crate::telemetry::metrics::{Instruments, Metrics};

/// While it lives, somebody watches.
struct StreamGuard {
    instruments: Option<Arc<Instruments>>,
    resource: &'static str,
}

impl StreamGuard {
    fn begin(instruments: Option<Arc<Instruments>>, resource: &'static str) -> Self {
        if let Some(on) = &instruments {
            on.ages.begin(resource);
        }
        Self { instruments, resource }
    }

    fn count<K>(&self, item: &Result<Event<K>, watcher::Error>) {
        let Some(on) = &self.instruments else { return };
        match item {
            Ok(Event::Apply(_) | Event::Delete(_) | Event::InitApply(_)) => {
                on.watch_events.add(1, [self.resource])
            }
            Ok(Event::Init | Event::InitDone) => {}
            // kube's watcher begins again after each of its errors.
            Err(_) => on.watch_restarts.add(1, [self.resource]),
        }
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        if let Some(on) = &self.instruments {
            on.ages.end(self.resource);
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
        let living = StreamGuard::begin(self.instruments.clone(), resource);
        stream.inspect(move |item| living.count(item))
    }
}
