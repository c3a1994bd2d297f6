//! Leading: the election, and what a new leader does first. It reconciles nothing.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use kube::Client;
use tokio::sync::watch;

use crate::{
    cluster::{
        leader_election::{LeaderElector, leadership::Leadership, lease::lease_name},
        store::watch_handle::WatchHandle,
    },
    config::OperatorConfig,
    controller::AnyController,
    runtime_info::RuntimeInfo,
    telemetry::Metrics,
};

/// What a new leader's fresh lists may take.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(5);
/// Lists that are not older need no repetition.
const MAX_LIST_AGE: Duration = Duration::from_secs(5);

/// Takes up the work whenever this process begins to lead: with fresh lists, since a watch that hangs would
/// show objects that were deleted.
pub(super) async fn run_on_leadership(
    controllers: Arc<[Arc<dyn AnyController>]>,
    leadership: Leadership,
    own: Vec<WatchHandle>,
    metrics: Metrics,
) {
    let (mut claims, mut leading) = (leadership.subscribe_claims(), leadership.subscribe());
    while claims.wait_for(|claimed| *claimed).await.is_ok() {
        let refreshes = join_all(own.iter().map(|watch| watch.refresh(MAX_LIST_AGE)));
        if tokio::time::timeout(REFRESH_TIMEOUT, refreshes).await.is_err() {
            tracing::warn!(
                "timed out refreshing the caches after {} s, starting with stale caches",
                REFRESH_TIMEOUT.as_secs()
            );
        }
        let exported_until = leadership.predecessor_exported_until();
        controllers.iter().for_each(|controller| controller.prepare_to_lead(exported_until));
        leadership.start_leading();
        join_all(controllers.iter().map(|controller| controller.on_leadership_acquired())).await;
        metrics.push_now();
        if leading.wait_for(|leading| !*leading).await.is_err() {
            return;
        }
        // The state is another's to show now, before that one shows it.
        metrics.push_now();
    }
}

/// Leads while it holds the Lease, or at once where there is no election, until it is to release it.
pub(super) async fn run_leader_election(
    client: Client,
    config: OperatorConfig,
    runtime_info: RuntimeInfo,
    leadership: Leadership,
    mut release: watch::Receiver<bool>,
) {
    if config.leader_elect.unwrap_or(runtime_info.in_cluster) {
        let lease = lease_name(&config.namespaces);
        let elector =
            LeaderElector::new(client, &runtime_info.namespace, lease, runtime_info.lease_identity());
        elector.run(leadership, release).await;
    } else {
        leadership.lead_without_election();
        let _ = release.wait_for(|release| *release).await;
    }
}
