//! Reacts to a change of one of Elpio's own CRDs: statuses that were stored in part are written again. It
//! reads no CRD.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::controller::AnyController;

/// An API server serves a changed CRD with a delay, and the last of several API servers later still.
const DELAYS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];

/// Runs until nobody watches CRDs any more.
pub(super) async fn on_crd_changes(controller: Arc<dyn AnyController>, mut changed: watch::Receiver<u64>) {
    while changed.changed().await.is_ok() {
        for pause in DELAYS {
            tokio::time::sleep(pause).await;
            controller.on_crd_change();
        }
    }
}
