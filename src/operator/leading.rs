//! Leadership: the election, and the first actions of a new leader. It reconciles nothing.

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

/// How long a new leader waits for fresh lists.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(5);
/// Lists that are at most this old are not repeated.
const MAX_LIST_AGE: Duration = Duration::from_secs(5);

/// Starts work whenever this process becomes leader: after fresh lists, because a hanging watch may still
/// show deleted objects.
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
        // Another leader reports the state from now on: clear this process's values before it does.
        metrics.push_now();
    }
}

/// Runs the election, or leads at once without one, until the Lease is to be released.
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
