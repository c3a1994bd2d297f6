//! Runs one watch for ever: its events go into a cache, its state is there to be asked; it decides nothing.

use std::{future::Future, sync::Arc, time::Duration};

use futures::StreamExt;
use kube::{
    Api, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{self, Error},
    },
};
use serde::de::DeserializeOwned;
use tokio::{sync::watch as channel, task::JoinHandle};

use crate::{
    cluster::store::{ObjectChange, ObjectStore},
    render::field_managers,
    telemetry::Metrics,
};

/// How a watch stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchState {
    /// The first list is not complete.
    Pending,
    /// The cache has been complete at least once.
    Synced,
    /// We may not list or watch; the API server's words.
    Forbidden(String),
    /// The API server has no such resource.
    Absent,
}

/// A running watch; it ends when this is dropped.
#[derive(Debug)]
pub struct WatchHandle {
    resource: &'static str,
    state: channel::Receiver<WatchState>,
    task: JoinHandle<()>,
}

impl Drop for WatchHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl WatchHandle {
    /// What it watches.
    #[must_use]
    pub fn resource(&self) -> &'static str {
        self.resource
    }

    /// How it stands now.
    #[must_use]
    pub fn state(&self) -> WatchState {
        self.state.borrow().clone()
    }

    /// Ends when its state is no longer the one that was seen.
    pub async fn state_changed(&self, seen: &WatchState) {
        let mut state = self.state.clone();
        let _ = state.wait_for(|now| now != seen).await;
    }

    /// Ends when it is no longer pending.
    pub fn settled(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut state = self.state.clone();
        async move {
            let _ = state.wait_for(|s| *s != WatchState::Pending).await;
        }
    }
}

/// What one watch is about.
#[derive(Clone, Debug)]
pub struct WatchTarget {
    /// Plural and group, as in RBAC.
    pub resource: &'static str,
    /// The namespace watched; "" for all.
    pub scope: String,
    /// Label selector; "" for none.
    pub selector: &'static str,
}

/// Starts a watch. `changed` is called for every change, and `turned` after each change of its state.
pub fn spawn<K, C, T>(
    api: Api<K>,
    subject: WatchTarget,
    cache: Arc<ObjectStore<K>>,
    metrics: &Metrics,
    changed: C,
    turned: T,
) -> WatchHandle
where
    K: kube::Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
    C: Fn(ObjectChange<K>) + Send + Sync + 'static,
    T: Fn() + Send + Sync + 'static,
{
    let (set, state) = channel::channel(WatchState::Pending);
    let (metrics, of) = (metrics.clone(), subject.resource);
    let task = tokio::spawn(async move {
        let mut failures = WatchBackoff::default();
        loop {
            run_watch(&api, &subject, &cache, &metrics, &mut failures, &set, &changed, &turned).await;
        }
    });
    WatchHandle { resource: of, state, task }
}

/// One watch, until the API server says that it may not be or is not there: then only a new list tells how
/// things stand.
#[allow(clippy::too_many_arguments, reason = "the parts of one task, handed on by name")]
async fn run_watch<K, C, T>(
    api: &Api<K>,
    subject: &WatchTarget,
    cache: &ObjectStore<K>,
    metrics: &Metrics,
    failures: &mut WatchBackoff,
    set: &channel::Sender<WatchState>,
    changed: &C,
    turned: &T,
) where
    K: kube::Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
    C: Fn(ObjectChange<K>) + Sync,
    T: Fn() + Sync,
{
    let config = watcher::Config::default().labels(subject.selector);
    // managedFields are half of an object's size and nobody here reads them.
    let stream = kube::runtime::watcher(api.clone(), config)
        .modify(|object| field_managers::retain_shared(object.managed_fields_mut()));
    let mut stream = std::pin::pin!(metrics.watch(subject.resource, stream));
    while let Some(item) = stream.next().await {
        match item {
            Ok(event) => {
                let (began, done) =
                    (matches!(event, watcher::Event::Init), matches!(event, watcher::Event::InitDone));
                cache.apply_event(&subject.scope, event).into_iter().for_each(changed);
                if done && set.send_replace(WatchState::Synced) != WatchState::Synced {
                    turned();
                }
                if !began && failures.succeeded() {
                    tracing::info!(
                        resource = subject.resource,
                        scope = subject.scope,
                        "the watch works again"
                    );
                }
            }
            Err(error) => {
                if failures.should_log() {
                    tracing::warn!(resource = subject.resource, scope = subject.scope, %error, "the watch does not work; trying on");
                }
                let next = state_after(&error);
                if let Some(next) = next.clone().filter(|next| *set.borrow() != *next) {
                    set.send_replace(next);
                    turned();
                }
                failures.wait().await;
                if next.is_some() {
                    return;
                }
            }
        }
    }
}

/// The failures of a watch in a row. kube's own back-off takes the beginning of every new attempt for a
/// success, so a watch that is forbidden would be tried each second, for ever.
#[derive(Debug, Default)]
pub struct WatchBackoff(u32);

impl WatchBackoff {
    const FIRST: Duration = Duration::from_millis(800);
    const LONGEST: Duration = Duration::from_secs(30);
    /// A single failure is part of every watch's life, as when an API has just been installed.
    const TOLD: u32 = 2;

    /// Something came. Returns whether a failure that was told has ended with it.
    pub fn succeeded(&mut self) -> bool {
        std::mem::take(&mut self.0) >= Self::TOLD
    }

    /// Counts a failure. Returns whether it is the one to tell.
    pub fn should_log(&mut self) -> bool {
        self.0 = self.0.saturating_add(1);
        self.0 == Self::TOLD
    }

    /// Waits before the next attempt.
    pub async fn wait(&self) {
        let doubled = Self::FIRST
            .saturating_mul(1_u32.checked_shl(self.0.saturating_sub(1).min(16)).unwrap_or(u32::MAX));
        tokio::time::sleep(doubled.min(Self::LONGEST)).await;
    }
}

/// A failure says something about the state only where it is about permission or existence: an outage leaves
/// a cache stale, not wrong.
fn state_after(error: &Error) -> Option<WatchState> {
    let (Error::InitialListFailed(kube::Error::Api(status))
    | Error::WatchStartFailed(kube::Error::Api(status))
    | Error::WatchError(status)) = error
    else {
        return None;
    };
    match status.code {
        403 => Some(WatchState::Forbidden(status.message.clone())),
        404 => Some(WatchState::Absent),
        _ => None,
    }
}
