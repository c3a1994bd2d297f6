//! Runs one watch for ever: its events go into a cache, its state is there to be asked; it decides nothing.

use std::{future::Future, sync::Arc};

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

use super::cache::{Cache, Change};
use crate::telemetry::Metrics;

/// How a watch stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
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
pub struct Watch {
    state: channel::Receiver<State>,
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    /// How it stands now.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Ends when its state changes.
    pub async fn turned(&self) {
        let mut state = self.state.clone();
        state.mark_unchanged();
        let _ = state.changed().await;
    }

    /// Ends when it is no longer pending.
    pub fn settling(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut state = self.state.clone();
        async move {
            let _ = state.wait_for(|s| *s != State::Pending).await;
        }
    }
}

/// What one watch is about.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Plural and group, as in RBAC.
    pub resource: &'static str,
    /// The namespace watched; "" for all.
    pub scope: String,
    /// Label selector; "" for none.
    pub selector: &'static str,
}

/// Starts a watch. `changed` is called for every change, and `turned` after each change of its state.
pub fn spawn<K, C, T>(api: Api<K>, subject: Subject, cache: Arc<Cache<K>>, metrics: &Metrics, changed: C, turned: T) -> Watch
where
    K: kube::Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
    C: Fn(Change<K>) + Send + 'static,
    T: Fn() + Send + 'static,
{
    let (set, state) = channel::channel(State::Pending);
    let config = watcher::Config::default().labels(subject.selector);
    // managedFields are half of an object's size and nobody here reads them.
    let stream = kube::runtime::watcher(api, config).modify(|object| object.managed_fields_mut().clear()).default_backoff();
    let metrics = metrics.clone();
    let task = tokio::spawn(async move {
        let mut stream = std::pin::pin!(metrics.watch(subject.resource, stream));
        let mut healthy = true;
        while let Some(item) = stream.next().await {
            match item {
                Ok(event) => {
                    let done = matches!(event, watcher::Event::InitDone);
                    cache.feed(&subject.scope, event).into_iter().for_each(&changed);
                    if done && set.send_replace(State::Synced) != State::Synced {
                        turned();
                    }
                    if !healthy && done {
                        tracing::info!(resource = subject.resource, scope = subject.scope, "the watch works again");
                        healthy = true;
                    }
                }
                Err(error) => {
                    let next = state_after(&error);
                    if healthy && !matches!(error, Error::WatchError(_)) {
                        tracing::warn!(resource = subject.resource, scope = subject.scope, %error, "the watch does not work; trying on");
                        healthy = false;
                    }
                    if let Some(next) = next
                        && *set.borrow() != next
                    {
                        set.send_replace(next);
                        turned();
                    }
                }
            }
        }
    });
    Watch { state, task }
}

/// A failure says something about the state only where it is about permission or existence: an outage leaves a cache stale, not wrong.
fn state_after(error: &Error) -> Option<State> {
    let status = match error {
        Error::InitialListFailed(kube::Error::Api(status)) | Error::WatchStartFailed(kube::Error::Api(status)) => status,
        Error::WatchError(status) => status,
        _ => return None,
    };
    match status.code {
        403 => Some(State::Forbidden(status.message.clone())),
        404 => Some(State::Absent),
        _ => None,
    }
}
