//! The end of the operator: what was begun is finished, and what the next leader need not repeat is noted in the
//! Lease. It releases no Lease itself.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::operator::Operator;

/// What reconciles may take to finish at SIGTERM: longer than one call, well within a pod's 30 s.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(13);
/// What the last spans may take before the Lease is released: a collector that is down must not keep it long.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(1);
/// What the last Events, and then the release of the Lease, may take.
pub(super) const SHUTDOWN_STEP_TIMEOUT: Duration = Duration::from_secs(3);

impl Operator {
    /// Lets the reconciles that are in flight finish, and publishes the last counts of Events. Returns whether
    /// all have finished.
    pub(super) async fn drain(&self, working: &mut JoinSet<()>) -> bool {
        let drained = async { while working.join_next().await.is_some() {} };
        let drained = tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_ok();
        if !drained {
            // Nothing may be written once the Lease is another's.
            working.abort_all();
            let running: usize = self.controllers.iter().map(|controller| controller.in_flight()).sum();
            tracing::warn!("{running} reconciles did not finish within {} s", DRAIN_TIMEOUT.as_secs());
        }
        if tokio::time::timeout(SHUTDOWN_STEP_TIMEOUT, self.recorder.flush()).await.is_err() {
            tracing::warn!("timed out flushing Event series");
        }
        drained
    }

    /// Exports the last spans, and notes that in the Lease: the next leader emits again what may be missing, and
    /// no more.
    pub(super) async fn hand_over(&self, drained: bool) {
        if !self.leadership.is_leading() {
            return;
        }
        if let Some(until) = self.observer.export_all(EXPORT_TIMEOUT).await.filter(|_| drained) {
            self.leadership.set_exported_until(until);
        } else {
            // For whoever wonders about spans that a backend received twice.
            tracing::info!(
                "some spans may not have been exported; the next leader re-emits the root spans of the last \
                 minute"
            );
        }
    }
}
