//! The handle of a running watch: its target, its state, and how to request a fresh list. It watches nothing itself.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, watch as channel},
    task::JoinHandle,
};

use crate::{
    cluster::store::shared_state::{SharedWatchState, WatchTarget},
    telemetry::Metrics,
};

/// The state of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchState {
    /// The first list is not complete.
    Pending,
    /// The store has been complete at least once; with the watched version.
    Synced(&'static str),
    /// Not permitted; with the API server's message.
    Forbidden(String),
    /// The API server has no such resource.
    Absent,
}

/// A running watch; dropping the handle ends it.
#[derive(Debug)]
pub struct WatchHandle {
    pub(super) target: WatchTarget,
    pub(super) state: channel::Receiver<WatchState>,
    pub(super) lists: channel::Receiver<Option<Instant>>,
    pub(super) relist: Arc<Notify>,
    pub(super) task: JoinHandle<()>,
}

impl Drop for WatchHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl WatchHandle {
    /// The target of the watch.
    #[must_use]
    pub fn target(&self) -> &WatchTarget {
        &self.target
    }

    /// The current state.
    #[must_use]
    pub fn state(&self) -> WatchState {
        self.state.borrow().clone()
    }

    /// Observes every change of the state from now on.
    #[must_use]
    pub fn states(&self) -> channel::Receiver<WatchState> {
        let mut states = self.state.clone();
        // A clone has seen what the original has, and nobody reads the original.
        states.mark_unchanged();
        states
    }

    /// Completes when the watch is no longer pending.
    pub async fn settled(&self) {
        let _ = self.state.clone().wait_for(|state| *state != WatchState::Pending).await;
    }

    /// Lists again, unless the last list is at most `max_age` old: a hanging watch makes old state seem
    /// current. Completes when the list is done, or at once if there is nothing to list.
    pub async fn refresh(&self, max_age: Duration) {
        let mut lists = self.lists.clone();
        let asked = Instant::now();
        let fresh = lists.borrow_and_update().is_some_and(|at| asked.duration_since(at) <= max_age);
        if fresh || !matches!(self.state(), WatchState::Synced(_)) {
            return;
        }
        self.relist.notify_one();
        let _ = lists.wait_for(|at| at.is_some_and(|at| at >= asked)).await;
    }
}

/// The context of a watch.
#[derive(Clone, Debug)]
pub struct WatchContext {
    /// The state shared by all watches.
    pub shared: Arc<SharedWatchState>,
    /// Counts its events.
    pub metrics: Metrics,
}
