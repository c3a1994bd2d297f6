//! Keeps one store in sync by list and watch, for ever, and exposes its state. It decides nothing about
//! objects.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt;
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch as channel};

use crate::{
    cluster::store::{
        ObjectChange, ObjectStore, Relist, StoredObject,
        backoff::{MIN_LIFE, WatchBackoff, WatchFailure},
        list_watch::{ListWatch, ResourceVersion, WATCH_TIMEOUT, WatchChange, advance},
        shared_state::{SharedWatchState, WatchSignals, WatchTarget},
        watch_handle::{WatchContext, WatchHandle, WatchState},
    },
    telemetry::WatchGuard,
};

/// A single failure is normal, as when the API server restarts.
const LOG_AFTER: u32 = 2;
/// Where CRDs are watched, an absent API is otherwise polled only this often.
const ABSENT_PAUSE: Duration = Duration::from_mins(10);
/// A CRD is visible before its API is served: for this long, it is polled quickly.
const SERVED_WITHIN: Duration = Duration::from_secs(20);

/// Watches the first of these versions that is served. Calls `on_change` for every change of an object and
/// `on_state` for every change of the watch's state.
pub fn spawn<K, C, T>(
    apis: Vec<(&'static str, ListWatch)>,
    target: WatchTarget,
    store: Arc<ObjectStore<K>>,
    context: &WatchContext,
    on_change: C,
    on_state: T,
) -> WatchHandle
where
    K: StoredObject + Clone + DeserializeOwned + Send + Sync + 'static,
    C: Fn(ObjectChange<K>) + Send + Sync + 'static,
    T: Fn() + Send + Sync + 'static,
{
    let (state_sender, state) = channel::channel(WatchState::Pending);
    let (list_sender, lists) = channel::channel(None);
    let relist = Arc::new(Notify::new());
    let reflector = Reflector {
        apis,
        served: 0,
        absent: 0,
        target: target.clone(),
        store,
        context: context.clone(),
        guard: None,
        resource_version: None,
        last_seen: None,
        interrupted: false,
        backoff: WatchBackoff::default(),
        expected_until: None,
        state: state_sender,
        lists: list_sender,
        relist: relist.clone(),
        on_change,
        on_state,
    };
    let task = tokio::spawn(reflector.run());
    WatchHandle { target, state, lists, relist, task }
}

struct Reflector<K, C, T> {
    apis: Vec<(&'static str, ListWatch)>,
    served: usize,
    /// How many of them were absent, one after another.
    absent: usize,
    target: WatchTarget,
    store: Arc<ObjectStore<K>>,
    context: WatchContext,
    guard: Option<WatchGuard>,
    /// Where the watch resumes; `None`: a list is needed.
    resource_version: Option<ResourceVersion>,
    /// The last one seen, even if it is no longer usable.
    last_seen: Option<ResourceVersion>,
    /// The last watch ended abnormally: a different API server may answer next.
    interrupted: bool,
    backoff: WatchBackoff,
    /// The CRD changed: until then, the API server is expected to serve the kind soon.
    expected_until: Option<Instant>,
    state: channel::Sender<WatchState>,
    lists: channel::Sender<Option<Instant>>,
    relist: Arc<Notify>,
    on_change: C,
    on_state: T,
}

impl<K, C, T> Reflector<K, C, T>
where
    K: StoredObject + Clone + DeserializeOwned + Send + Sync + 'static,
    C: Fn(ObjectChange<K>) + Send + Sync,
    T: Fn() + Send + Sync,
{
    async fn run(mut self) {
        let relist = self.relist.clone();
        loop {
            let shared = &self.context.shared;
            let signals = WatchSignals {
                reachable: shared.reachable.subscribe(),
                crd_change: shared.crd_change(self.target.resource),
                permitted: shared.permitted(&self.target.scope),
            };
            let ended = tokio::select! {
                ended = self.list_and_watch() => ended,
                () = relist.notified() => {
                    self.resource_version = None;
                    continue;
                }
            };
            if let Err(failure) = ended {
                self.recover(failure, signals).await;
            }
        }
    }

    /// Lists if needed, then watches once.
    async fn list_and_watch(&mut self) -> Result<(), WatchFailure> {
        let api = self.apis[self.served].1.clone();
        if self.interrupted
            && let Some(version) = self.resource_version
            && api.is_rewound(version).await?
        {
            let (resource, namespace) = (self.target.resource, &self.target.scope);
            tracing::warn!(
                resource,
                namespace,
                "resourceVersions went backwards (etcd restored?); listing again"
            );
            self.resource_version = None;
        }
        let mut version = match self.resource_version {
            Some(version) => version,
            None => self.list(&api).await?,
        };
        self.interrupted = true;
        let mut stream = api.watch(version).await?;
        self.absent = 0;
        self.context.shared.answered();
        self.context.shared.record_working(&self.target);
        let opened = Instant::now();
        let mut quiet = true;
        while let Some(item) = stream.next().await {
            let change = advance(item, &mut version);
            let Some(change) = change.inspect_err(|_| self.backoff.reset_after(opened.elapsed()))? else {
                continue;
            };
            quiet = false;
            self.backoff.reset();
            self.resource_version = Some(version);
            self.last_seen = self.resource_version;
            self.take(change);
        }
        if quiet && opened.elapsed() < MIN_LIFE {
            return Err(WatchFailure::ended_at_once());
        }
        self.backoff.reset_after(opened.elapsed());
        // Ended sooner than requested: the API server or something in between stopped.
        self.interrupted = opened.elapsed() + MIN_LIFE < WATCH_TIMEOUT;
        Ok(())
    }

    async fn list(&mut self, api: &ListWatch) -> Result<ResourceVersion, WatchFailure> {
        let asked = Instant::now();
        let (mut objects, mut unchanged) = (Vec::new(), Vec::new());
        let is_rewound = |version: ResourceVersion| self.last_seen.is_some_and(|seen| version < seen);
        let take = |version, page: Vec<K>| {
            // Most objects are unchanged: only their keys are kept until the list is complete.
            for object in page {
                if !is_rewound(version) && self.store.is_observed(&object) {
                    unchanged.push(object.key());
                } else {
                    objects.push(object);
                }
            }
        };
        let version = api.list(take).await?;
        let rewound = is_rewound(version);
        let guard = self
            .guard
            .get_or_insert_with(|| self.context.metrics.watch_guard(self.target.resource, api.url()));
        guard.record_events(objects.len() + unchanged.len());
        let list = Relist { scope: self.target.scope.clone(), objects, unchanged, version, rewound };
        self.store.replace(list).into_iter().for_each(&self.on_change);
        self.resource_version = Some(version);
        self.last_seen = self.resource_version;
        self.context.shared.record_event(&self.target, asked);
        self.lists.send_replace(Some(Instant::now()));
        self.set_state(WatchState::Synced(self.apis[self.served].0));
        Ok(version)
    }

    fn take(&mut self, change: WatchChange<K>) {
        let change = match change {
            WatchChange::Bookmark => None,
            WatchChange::Applied(object) => Some(self.store.apply(object)),
            WatchChange::Deleted(object) => Some(self.store.delete(object)),
        };
        self.context.shared.record_event(&self.target, Instant::now());
        let Some(change) = change else { return };
        if let Some(guard) = &self.guard {
            guard.record_events(1);
        }
        (self.on_change)(change);
    }

    fn set_state(&self, state: WatchState) {
        if *self.state.borrow() != state {
            self.state.send_replace(state);
            (self.on_state)();
        }
    }

    /// Updates the state after a failure and pauses.
    async fn recover(&mut self, failure: WatchFailure, signals: WatchSignals) {
        if let Some(guard) = &self.guard {
            guard.record_restart();
        }
        if failure == WatchFailure::Expired {
            // A new list resolves it, immediately; if it does not, this is a failure like any other.
            if self.resource_version.take().is_some() && self.backoff.failures() == 0 {
                self.backoff.record(&failure, Instant::now());
                return;
            }
        }
        if failure == WatchFailure::Absent {
            self.resource_version = None;
            self.absent += 1;
            if self.absent < self.apis.len() {
                // The watch of the next version has an age of its own.
                self.guard = None;
                self.served = (self.served + 1) % self.apis.len();
                return;
            }
            (self.served, self.absent) = (0, 0);
        }
        let now = Instant::now();
        let pause = self.backoff.record(&failure, now);
        let synced = matches!(*self.state.borrow(), WatchState::Synced(_));
        let lasts = self.backoff.refusal_lasts(synced, now);
        self.report(&failure, lasts);
        self.wait(&failure, pause, signals).await;
    }

    fn report(&mut self, failure: &WatchFailure, lasts: bool) {
        let shared = &self.context.shared;
        match failure {
            WatchFailure::Forbidden(why) if lasts => {
                shared.record_refused(&self.target, why);
                self.guard = None;
                self.set_state(WatchState::Forbidden(why.clone()));
            }
            WatchFailure::Absent if lasts => {
                shared.record_working(&self.target);
                self.guard = None;
                // The API's objects were deleted with it.
                let nothing = Relist::empty(self.target.scope.clone());
                self.store.replace(nothing).into_iter().for_each(&self.on_change);
                self.last_seen = None;
                self.set_state(WatchState::Absent);
            }
            _ if self.backoff.failures() >= LOG_AFTER => {
                failure.cause().into_iter().for_each(|why| shared.record_failing(&self.target, why));
            }
            _ => {}
        }
    }

    async fn wait(&mut self, failure: &WatchFailure, pause: Duration, signals: WatchSignals) {
        let shared = self.context.shared.clone();
        match failure {
            WatchFailure::Absent => {
                let soon = self.expected_until.is_some_and(|until| Instant::now() < until);
                // The CRD's deletion is signalled before the watch ends: until the state is `Absent`, retries are quick.
                let is_absent = *self.state.borrow() == WatchState::Absent;
                let pause = if is_absent && shared.crds_watched() && !soon { ABSENT_PAUSE } else { pause };
                if SharedWatchState::wait_for(pause, signals.crd_change).await {
                    self.expected_until = Some(Instant::now() + SERVED_WITHIN);
                    self.backoff.reset();
                }
            }
            WatchFailure::Forbidden(_) => {
                SharedWatchState::wait_for(pause, signals.permitted).await;
            }
            WatchFailure::Unreachable(_) => shared.wait_until_reachable(pause, signals.reachable).await,
            WatchFailure::Failed(..) | WatchFailure::Expired => {
                shared.wait_after_error(pause, failure.retry_after(), signals.reachable).await;
            }
        }
    }
}
