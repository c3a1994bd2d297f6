//! The shutdown of the operator: finishes the work in flight, and records in the Lease what the next leader
//! need not repeat. It does not release the Lease itself.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::operator::Operator;

/// How long reconciles may take to finish after SIGTERM: longer than one call, well within a pod's 30 s.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(13);
/// How long the last spans may delay the release of the Lease: a collector that is down must not hold it for long.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long flushing the last Events may take, and then the release of the Lease.
pub(super) const SHUTDOWN_STEP_TIMEOUT: Duration = Duration::from_secs(3);

impl Operator {
    /// Lets the reconciles in flight finish, then flushes the last Events. Returns whether all reconciles
    /// finished.
    pub(super) async fn drain(&self, working: &mut JoinSet<()>) -> bool {
        let drained = async { while working.join_next().await.is_some() {} };
        let drained = tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_ok();
        if !drained {
            // Nothing may be written once another replica has the Lease.
            working.abort_all();
            let running: usize = self.controllers.iter().map(|controller| controller.in_flight()).sum();
            tracing::warn!("{running} reconciles did not finish within {} s", DRAIN_TIMEOUT.as_secs());
        }
        if tokio::time::timeout(SHUTDOWN_STEP_TIMEOUT, self.recorder.flush()).await.is_err() {
            tracing::warn!("timed out flushing Event series");
        }
        drained
    }

    /// Exports the last spans and records that for the Lease, so that the next leader re-emits only spans
    /// that may be missing.
    pub(super) async fn hand_over(&self, drained: bool) {
        if !self.leadership.is_leading() {
            return;
        }
        if let Some(until) = self.observer.export_all(EXPORT_TIMEOUT).await.filter(|_| drained) {
            self.leadership.set_exported_until(until);
        } else {
            // Explains why a backend may receive some spans twice.
            tracing::info!(
                "some spans may not have been exported; the next leader re-emits the root spans of the last \
                 minute"
            );
        }
    }
}
