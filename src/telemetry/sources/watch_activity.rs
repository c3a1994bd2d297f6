//! How long each watch has been silent. The client layer records bytes, `kube/watch_stream.rs` the running watches.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

#[derive(Debug, Default)]
struct ResourceActivity {
    /// The number of running streams. Without any, the resource is deliberately not watched and has no age.
    streams: usize,
    /// By the path of the watch (there may be one per namespace): the time of its last byte.
    record: HashMap<String, Instant>,
}

/// The activity of all watches.
#[derive(Debug, Default)]
pub(in crate::telemetry) struct WatchActivity(Mutex<HashMap<&'static str, ResourceActivity>>);

impl WatchActivity {
    /// Records a byte or the response headers of the watch at `path`.
    pub(in crate::telemetry) fn record(&self, resource: &'static str, path: &str) {
        let mut all = self.0.lock();
        let watched = all.entry(resource).or_default();
        match watched.record.get_mut(path) {
            Some(at) => *at = Instant::now(),
            None => drop(watched.record.insert(path.to_owned(), Instant::now())),
        }
    }

    /// Records that a watch starts.
    pub(in crate::telemetry) fn begin(&self, resource: &'static str) {
        self.0.lock().entry(resource).or_default().streams += 1;
    }

    /// Records that a watch was stopped deliberately: forgets its path, and after the last watch all paths.
    pub(in crate::telemetry) fn end(&self, resource: &'static str, path: &str) {
        let mut all = self.0.lock();
        if let Some(watched) = all.get_mut(resource) {
            watched.streams = watched.streams.saturating_sub(1);
            watched.record.remove(path);
            if watched.streams == 0 {
                all.remove(resource);
            }
        }
    }

    /// Calls `f` with the age of the most silent watch of each resource that is watched and has been active.
    pub(in crate::telemetry) fn for_each_age(&self, mut f: impl FnMut(&'static str, Duration)) {
        let all = self.0.lock();
        for (resource, watched) in all.iter().filter(|(_, watched)| watched.streams > 0) {
            if let Some(oldest) = watched.record.values().min() {
                f(resource, oldest.elapsed());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(watch_activity: &WatchActivity) -> Vec<&'static str> {
        let mut seen = Vec::new();
        watch_activity.for_each_age(|resource, _| seen.push(resource));
        seen
    }

    #[test]
    fn an_age_is_shown_only_while_a_stream_lives() {
        let watch_activity = WatchActivity::default();
        watch_activity.begin("Service");
        assert!(seen(&watch_activity).is_empty(), "no activity yet");
        watch_activity.record("Service", "/api/v1/services");
        assert_eq!(seen(&watch_activity), ["Service"]);
        watch_activity.end("Service", "/api/v1/services");
        assert!(seen(&watch_activity).is_empty(), "the watch was given up on purpose");
    }

    #[test]
    fn a_namespace_that_is_given_up_does_not_age() {
        let watch_activity = WatchActivity::default();
        for path in ["/api/v1/namespaces/a/services", "/api/v1/namespaces/b/services"] {
            watch_activity.begin("Service");
            watch_activity.record("Service", path);
        }
        watch_activity.end("Service", "/api/v1/namespaces/a/services");
        let all = watch_activity.0.lock();
        let left: Vec<_> =
            all.get("Service").into_iter().flat_map(|watched| watched.record.keys().cloned()).collect();
        assert_eq!(left, ["/api/v1/namespaces/b/services"]);
    }
}
