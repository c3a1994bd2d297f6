//! What the watches of a process share: the signals that end a pause early, and which watches do not work.
//! Makes no requests.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{backoff::jittered, cluster::store::broadcast::Broadcast};

/// While the API server does not answer, one watch retries on behalf of all at this interval.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// The minimum pause of a watch, whatever wakes it.
const MIN_PAUSE: Duration = Duration::from_millis(200);
/// The same after an error response: successful calls elsewhere prove little.
const MIN_PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);
/// How long a kind's watch must be refused before its objects there count as lost: a short gap, as while a
/// role is replaced, must not make them lose their hosts.
const LOST_AFTER: Duration = Duration::from_mins(1);

/// The role of the watched objects: an `ElpioService` may also be a function's child, with a separate watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WatchRole {
    /// Objects that are reconciled.
    Own,
    /// Children.
    Child,
}

/// The target of a watch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WatchTarget {
    /// The role of its objects.
    pub role: WatchRole,
    /// The kind's label in metrics.
    pub resource: &'static str,
    /// The namespace watched; "" for all.
    pub scope: String,
}

impl WatchTarget {
    /// Identifies the watch within its namespace.
    fn key(&self) -> (&'static str, WatchRole) {
        (self.resource, self.role)
    }

    /// The namespace, for display.
    pub(super) fn namespace(&self) -> &str {
        if self.scope.is_empty() { "all" } else { &self.scope }
    }
}

#[derive(Debug, Default)]
struct ScopeState {
    permitted: Broadcast,
    /// When a watch last brought something. Its events are in order, so all earlier ones are known.
    last_events: BTreeMap<(&'static str, WatchRole), Instant>,
    /// The refused watches, and since when.
    refused: BTreeMap<(&'static str, WatchRole), Instant>,
}

/// The signals as of the start of an attempt, so that none is lost during it.
pub(super) struct WatchSignals {
    pub reachable: watch::Receiver<u64>,
    pub crd_change: watch::Receiver<u64>,
    pub permitted: watch::Receiver<u64>,
}

/// The state shared by all watches.
#[derive(Debug, Default)]
pub struct SharedWatchState {
    /// The API server answers again.
    pub reachable: Broadcast,
    /// By kind: its `CustomResourceDefinition` was added, changed or deleted.
    crd_changes: Mutex<BTreeMap<&'static str, Broadcast>>,
    crds_watched: AtomicBool,
    has_waiters: AtomicBool,
    failing: Mutex<BTreeSet<WatchTarget>>,
    scopes: Mutex<BTreeMap<String, ScopeState>>,
    probe: tokio::sync::Mutex<()>,
}

impl SharedWatchState {
    /// Records an answer: watches that wait for one may retry. Cheap when none waits.
    pub fn answered(&self) {
        if self.has_waiters.load(Ordering::Relaxed) && self.has_waiters.swap(false, Ordering::Relaxed) {
            self.reachable.send();
        }
    }

    /// Waits after a failure to reach the API server: at most `pause`, until another call is answered, or
    /// until it is this watch's turn to probe.
    pub async fn wait_until_reachable(&self, pause: Duration, signal: watch::Receiver<u64>) {
        self.has_waiters.store(true, Ordering::Relaxed);
        tokio::select! {
            _ = Self::wait_for(pause, signal) => {}
            () = async {
                let _turn = self.probe.lock().await;
                tokio::time::sleep(jittered(PROBE_INTERVAL)).await;
            } => {}
        }
    }

    /// Waits after an error response: at most `pause`, or until another call succeeds, but not less than the API
    /// server asked for.
    pub async fn wait_after_error(&self, pause: Duration, asked: Duration, signal: watch::Receiver<u64>) {
        self.has_waiters.store(true, Ordering::Relaxed);
        let least = jittered(pause.min(MIN_PAUSE_AFTER_ERROR).max(asked));
        tokio::time::sleep(least).await;
        Self::wait_for(pause.saturating_sub(least), signal).await;
    }

    /// Waits for the signal, but at most `pause`. Returns whether it came.
    pub async fn wait_for(pause: Duration, mut signal: watch::Receiver<u64>) -> bool {
        tokio::select! {
            () = tokio::time::sleep(jittered(pause)) => false,
            came = async {
                let came = signal.changed().await.is_ok();
                tokio::time::sleep(jittered(MIN_PAUSE)).await;
                came
            } => came,
        }
    }

    /// The signal that this kind's CRD was added, changed or deleted.
    #[must_use]
    pub fn crd_change(&self, resource: &'static str) -> watch::Receiver<u64> {
        self.crd_changes.lock().entry(resource).or_default().subscribe()
    }

    pub(super) fn crd_changed(&self, resource: &'static str) {
        self.crd_changes.lock().entry(resource).or_default().send();
    }

    /// The signal that a watch in this scope is permitted again.
    #[must_use]
    pub fn permitted(&self, scope: &str) -> watch::Receiver<u64> {
        self.scopes.lock().entry(scope.to_owned()).or_default().permitted.subscribe()
    }

    /// Whether CRDs are watched, so that an absent API needs no polling.
    #[must_use]
    pub fn crds_watched(&self) -> bool {
        self.crds_watched.load(Ordering::Relaxed)
    }

    /// If CRDs are no longer watched, the watches of absent APIs start to poll.
    pub(super) fn set_crds_watched(&self, watched: bool) {
        if self.crds_watched.swap(watched, Ordering::Relaxed) && !watched {
            self.crd_changes.lock().values().for_each(Broadcast::send);
        }
    }

    /// Records a watch that fails repeatedly. Logs the first one only.
    pub(super) fn record_failing(&self, watch: &WatchTarget, error: &str) {
        let mut failing = self.failing.lock();
        if failing.is_empty() {
            tracing::warn!(
                resource = watch.resource,
                namespace = watch.namespace(),
                error,
                "watch failed, retrying"
            );
        }
        failing.insert(watch.clone());
    }

    /// Records a watch that is not permitted. Logs the first one of its namespace only.
    pub(super) fn record_refused(&self, watch: &WatchTarget, why: &str) {
        self.record_not_failing(watch);
        let mut scopes = self.scopes.lock();
        let refused = &mut scopes.entry(watch.scope.clone()).or_default().refused;
        if refused.is_empty() {
            let namespace = watch.namespace();
            tracing::warn!(
                resource = watch.resource,
                namespace,
                error = why,
                "watch forbidden: objects that need this resource wait until the permission is granted"
            );
        }
        refused.entry(watch.key()).or_insert_with(Instant::now);
    }

    fn record_not_failing(&self, watch: &WatchTarget) {
        let mut failing = self.failing.lock();
        if failing.remove(watch) && failing.is_empty() {
            tracing::info!("all watches recovered");
        }
    }

    /// Records that a watch works.
    pub(super) fn record_working(&self, watch: &WatchTarget) {
        self.record_not_failing(watch);
        let mut scopes = self.scopes.lock();
        let Some(scope) = scopes.get_mut(&watch.scope).filter(|scope| !scope.refused.is_empty()) else {
            return;
        };
        if scope.refused.remove(&watch.key()).is_some() {
            scope.permitted.send();
            if scope.refused.is_empty() {
                let namespace = watch.namespace();
                tracing::info!(namespace, "all watches of the namespace are permitted again");
            }
        }
    }

    /// Records that a watch brought an event, a bookmark, or a list requested at this time.
    pub(super) fn record_event(&self, watch: &WatchTarget, at: Instant) {
        let mut scopes = self.scopes.lock();
        match scopes.get_mut(&watch.scope) {
            Some(state) => drop(state.last_events.insert(watch.key(), at)),
            None => drop(scopes.entry(watch.scope.clone()).or_default().last_events.insert(watch.key(), at)),
        }
    }

    /// Whether a watch of this kind as Elpio's own has brought something within `age`, so that every older
    /// deletion is known.
    #[must_use]
    pub fn is_current(&self, kind: &'static str, namespace: &str, age: Duration) -> bool {
        let (scopes, key) = (self.scopes.lock(), (kind, WatchRole::Own));
        let mut of_scopes = ["", namespace].into_iter().filter_map(|scope| scopes.get(scope));
        of_scopes.any(|state| state.last_events.get(&key).is_some_and(|at| at.elapsed() <= age))
    }

    /// The namespaces where this kind's watch has been refused for long: the objects in the store may no
    /// longer exist.
    #[must_use]
    pub fn refused_namespaces(&self, kind: &'static str) -> Vec<String> {
        self.refused_for(kind, LOST_AFTER)
    }

    fn refused_for(&self, kind: &'static str, age: Duration) -> Vec<String> {
        let (scopes, key) = (self.scopes.lock(), (kind, WatchRole::Own));
        let is_lost = |state: &ScopeState| state.refused.get(&key).is_some_and(|at| at.elapsed() >= age);
        let lost = scopes.iter().filter(|(scope, state)| !scope.is_empty() && is_lost(state));
        lost.map(|(scope, _)| scope.clone()).collect()
    }

    /// The number of refused watches for each namespace that has or had one ("all": all namespaces).
    #[must_use]
    pub fn refused_watches(&self) -> Vec<(String, u64)> {
        let scopes = self.scopes.lock();
        let counts = scopes.iter().map(|(scope, state)| {
            let namespace = if scope.is_empty() { "all" } else { scope };
            (namespace.to_owned(), state.refused.len() as u64)
        });
        counts.collect()
    }

    /// What may not be watched, for display: a whole namespace if all of `own` are refused in it.
    #[must_use]
    pub fn not_watched(&self, own: &[&'static str]) -> Vec<String> {
        let scopes = self.scopes.lock();
        let is_refused = |state: &ScopeState, kind| state.refused.contains_key(&(kind, WatchRole::Own));
        let describe = |(scope, state): (&String, &ScopeState)| {
            let location = match scope.as_str() {
                "" => String::new(),
                namespace => format!("namespace {namespace}"),
            };
            if !scope.is_empty() && own.iter().all(|kind| is_refused(state, *kind)) {
                return vec![format!("{location}: forbidden")];
            }
            let within = if location.is_empty() { String::new() } else { format!(" in {location}") };
            let mut resources: Vec<&str> = state.refused.keys().map(|(resource, _)| *resource).collect();
            resources.dedup();
            resources.into_iter().map(|resource| format!("{resource}{within}: forbidden")).collect()
        };
        scopes.iter().flat_map(describe).collect()
    }
}

#[cfg(test)]
#[path = "shared_state_test.rs"]
mod tests;
