//! When the operator is ready, and the response of `/readyz`. It starts nothing.

use std::sync::Arc;

use futures::future::{join_all, select_all};
use tokio::sync::watch;

use crate::{
    cluster::store::watch_handle::{WatchHandle, WatchState},
    http,
    operator::Operator,
};

impl Operator {
    /// The readiness check for `/readyz`.
    #[must_use]
    pub fn readiness(&self, stopping: watch::Receiver<bool>) -> http::ReadinessCheck {
        let (synced, watches) = (self.synced.subscribe(), self.watches.shared.clone());
        let kinds: Vec<&'static str> =
            self.controllers.iter().map(|controller| controller.kind().as_str()).collect();
        Arc::new(move || {
            let refused = watches.not_watched(&kinds).join(", ");
            let with_refused = |text: &str| {
                if refused.is_empty() { text.to_owned() } else { format!("{text}; not watched: {refused}") }
            };
            match (*stopping.borrow(), *synced.borrow()) {
                (true, _) => Err("stopping".to_owned()),
                (false, false) => Err(with_refused("waiting for caches to sync")),
                (false, true) => Ok(with_refused("ready")),
            }
        })
    }

    /// Waits for the first lists of all served and permitted kinds, and of at least one of Elpio's own.
    pub(super) async fn wait_for_cache_sync(&self, own: &[WatchHandle]) {
        loop {
            join_all(own.iter().map(WatchHandle::settled)).await;
            let mut states: Vec<_> = own.iter().map(WatchHandle::states).collect();
            for watch in own.iter().filter(|watch| watch.state() == WatchState::Absent) {
                tracing::warn!(
                    "the CustomResourceDefinition of {} is not installed: apply deploy/crds",
                    watch.target().resource
                );
            }
            if own.iter().any(|watch| matches!(watch.state(), WatchState::Synced(_))) {
                break;
            }
            let changes = states.iter_mut().map(|state| Box::pin(state.changed()));
            let _ = select_all(changes).await;
        }
        self.children.wait_for_sync().await;
    }
}
