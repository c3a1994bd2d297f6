//! A running watch as others see it: its target, its state, and how to get a fresh list; it watches nothing.

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
    /// The store has been complete at least once; the version that is watched.
    Synced(&'static str),
    /// Not permitted; the API server's words.
    Forbidden(String),
    /// The API server has no such resource.
    Absent,
}

/// A running watch; it ends when this is dropped.
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
    /// What it watches.
    #[must_use]
    pub fn target(&self) -> &WatchTarget {
        &self.target
    }

    /// Its state now.
    #[must_use]
    pub fn state(&self) -> WatchState {
        self.state.borrow().clone()
    }

    /// Sees every change of its state from now on.
    #[must_use]
    pub fn states(&self) -> channel::Receiver<WatchState> {
        let mut states = self.state.clone();
        // A clone has seen what the original has, and nothing reads the original.
        states.mark_unchanged();
        states
    }

    /// Ends when it is no longer pending.
    pub async fn settled(&self) {
        let _ = self.state.clone().wait_for(|state| *state != WatchState::Pending).await;
    }

    /// Lists again unless that was done within `max_age`: a watch that hangs shows a past that looks like the
    /// present. Ends when the list is there, at once where there is nothing to list.
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

/// Where a watch runs.
#[derive(Clone, Debug)]
pub struct WatchContext {
    /// What it shares with all others.
    pub shared: Arc<SharedWatchState>,
    /// Counts its events.
    pub metrics: Metrics,
}
