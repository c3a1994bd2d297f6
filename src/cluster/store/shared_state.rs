//! What the watches of one process share: the signals that end a pause early, and which of them do not work;
//! it makes no request.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::backoff::jittered;

/// While the API server does not answer, one watch of all tries again this often.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// What a watch waits at least, whatever wakes it.
const MIN_PAUSE: Duration = Duration::from_millis(200);
/// The same after an answer that was an error: calls that succeed elsewhere promise little.
const MIN_PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);
/// How long the watch of a kind must be refused before its objects there count as lost: while a role is replaced,
/// nothing of them changes hands.
const LOST_AFTER: Duration = Duration::from_mins(1);

/// Something that watches wait for.
#[derive(Debug)]
pub struct Broadcast(watch::Sender<u64>);

impl Default for Broadcast {
    fn default() -> Self {
        Self(watch::channel(0).0)
    }
}

impl Broadcast {
    /// Wakes everyone who waits, and those who began an attempt before this and come to wait after it.
    pub fn send(&self) {
        self.0.send_modify(|count| *count += 1);
    }

    /// Sees every signal from now on.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

/// As what a watch sees its objects: a function's child is an `ElpioService` too, and has a watch of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WatchRole {
    /// As objects that are reconciled.
    Own,
    /// As children.
    Child,
}

/// What one watch is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WatchTarget {
    /// As what it sees its objects.
    pub role: WatchRole,
    /// The kind's label in metrics.
    pub resource: &'static str,
    /// The namespace watched; "" for all.
    pub scope: String,
}

impl WatchTarget {
    /// What tells it from the other watches of its namespace.
    fn key(&self) -> (&'static str, WatchRole) {
        (self.resource, self.role)
    }

    /// The namespace, for people.
    pub(super) fn namespace(&self) -> &str {
        if self.scope.is_empty() { "all" } else { &self.scope }
    }
}

#[derive(Debug, Default)]
struct ScopeState {
    permitted: Broadcast,
    /// When a watch brought something last. Its events are in order: what happened before is known.
    last_events: BTreeMap<(&'static str, WatchRole), Instant>,
    /// Since when.
    refused: BTreeMap<(&'static str, WatchRole), Instant>,
}

/// The signals as they were when an attempt began, so that none is lost during it.
pub(super) struct WatchSignals {
    pub reachable: watch::Receiver<u64>,
    pub crd_change: watch::Receiver<u64>,
    pub permitted: watch::Receiver<u64>,
}

/// Shared by all watches.
#[derive(Debug, Default)]
pub struct SharedWatchState {
    /// The API server answered, after it had not.
    pub reachable: Broadcast,
    /// By kind: its `CustomResourceDefinition` came, changed or went.
    crd_changes: Mutex<BTreeMap<&'static str, Broadcast>>,
    crds_watched: AtomicBool,
    awaited: AtomicBool,
    failing: Mutex<BTreeSet<WatchTarget>>,
    scopes: Mutex<BTreeMap<String, ScopeState>>,
    probe: tokio::sync::Mutex<()>,
}

impl SharedWatchState {
    /// A call was answered: those that wait for an answer may try again. It costs nothing in calm.
    pub fn answered(&self) {
        if self.awaited.load(Ordering::Relaxed) && self.awaited.swap(false, Ordering::Relaxed) {
            self.reachable.send();
        }
    }

    /// Waits out a failure to reach the API server: at most `pause`, until another call is answered, or until
    /// it is this watch's turn to try for all.
    pub async fn wait_until_reachable(&self, pause: Duration, signal: watch::Receiver<u64>) {
        self.awaited.store(true, Ordering::Relaxed);
        tokio::select! {
            _ = Self::wait_for(pause, signal) => {}
            () = async {
                let _turn = self.probe.lock().await;
                tokio::time::sleep(jittered(PROBE_INTERVAL)).await;
            } => {}
        }
    }

    /// Waits after an answer that was an error: at most `pause`, or until another call is answered well.
    pub async fn wait_after_error(&self, pause: Duration, signal: watch::Receiver<u64>) {
        self.awaited.store(true, Ordering::Relaxed);
        let least = jittered(pause.min(MIN_PAUSE_AFTER_ERROR));
        tokio::time::sleep(least).await;
        Self::wait_for(pause.saturating_sub(least), signal).await;
    }

    /// Waits at most `pause`, less when the signal comes. Returns whether it came.
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

    /// The signal that the CRD of this kind came, changed or went.
    #[must_use]
    pub fn crd_change(&self, resource: &'static str) -> watch::Receiver<u64> {
        self.crd_changes.lock().entry(resource).or_default().subscribe()
    }

    pub(super) fn crd_changed(&self, resource: &'static str) {
        self.crd_changes.lock().entry(resource).or_default().send();
    }

    /// The signal that something is permitted again in this scope.
    #[must_use]
    pub fn permitted(&self, scope: &str) -> watch::Receiver<u64> {
        self.scopes.lock().entry(scope.to_owned()).or_default().permitted.subscribe()
    }

    /// Whether CRDs are watched, so that an absent API needs no polling.
    #[must_use]
    pub fn crds_watched(&self) -> bool {
        self.crds_watched.load(Ordering::Relaxed)
    }

    pub(super) fn set_crds_watched(&self, watched: bool) {
        self.crds_watched.store(watched, Ordering::Relaxed);
    }

    /// A watch fails again and again. Logs the first of all.
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

    /// A watch may not be. Logs the first of its namespace.
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

    /// A watch works.
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
                tracing::info!(namespace, "every watch of the namespace is permitted again");
            }
        }
    }

    /// A watch brought an event, a bookmark or a list that was asked for at this time.
    pub(super) fn record_event(&self, watch: &WatchTarget, at: Instant) {
        let mut scopes = self.scopes.lock();
        match scopes.get_mut(&watch.scope) {
            Some(state) => drop(state.last_events.insert(watch.key(), at)),
            None => drop(scopes.entry(watch.scope.clone()).or_default().last_events.insert(watch.key(), at)),
        }
    }

    /// Whether the watch of a kind of Elpio's own has brought something within `age`: no older deletion is unknown.
    #[must_use]
    pub fn is_current(&self, kind: &'static str, namespace: &str, age: Duration) -> bool {
        let (scopes, key) = (self.scopes.lock(), (kind, WatchRole::Own));
        let mut of_scopes = ["", namespace].into_iter().filter_map(|scope| scopes.get(scope));
        of_scopes.any(|state| state.last_events.get(&key).is_some_and(|at| at.elapsed() <= age))
    }

    /// The namespaces in which the watch of this kind has been refused for long: what is known there may be gone.
    #[must_use]
    pub fn lost_namespaces(&self, kind: &'static str) -> Vec<String> {
        self.refused_for(kind, LOST_AFTER)
    }

    fn refused_for(&self, kind: &'static str, age: Duration) -> Vec<String> {
        let (scopes, key) = (self.scopes.lock(), (kind, WatchRole::Own));
        let is_lost = |state: &ScopeState| state.refused.get(&key).is_some_and(|at| at.elapsed() >= age);
        let lost = scopes.iter().filter(|(scope, state)| !scope.is_empty() && is_lost(state));
        lost.map(|(scope, _)| scope.clone()).collect()
    }

    /// How many watches are refused in each namespace that has or had one ("all": in all of them).
    #[must_use]
    pub fn refused_watches(&self) -> Vec<(String, u64)> {
        let scopes = self.scopes.lock();
        let counts = scopes.iter().map(|(scope, state)| {
            let namespace = if scope.is_empty() { "all" } else { scope };
            (namespace.to_owned(), state.refused.len() as u64)
        });
        counts.collect()
    }

    /// What may not be watched, for people: a namespace as a whole, where it is all of `own`.
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
