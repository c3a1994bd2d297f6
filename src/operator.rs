//! The operator's parts, joined: watches, stores, controllers, Lease. It lives from the first list to the last
//! flushed Event, and knows no kind.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use kube::Client;
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
};

use crate::{
    cluster::{
        apply::Applier,
        events::recorder::Recorder,
        leader_election::LeaderElector,
        store::{
            children::{ChildStore, OnAvailabilityChange, OnChildChange},
            discovery::{self, ServedVersions},
            reflector::{WatchHandle, WatchState},
        },
    },
    config::OperatorConfig,
    controller::{
        AnyController, Observer, controllers,
        kinds::{self, SharedParts},
    },
    http,
    render::Defaults,
    runtime_info::{self, RuntimeInfo},
    telemetry::{Metrics, ResourceCounts, Telemetry, Trigger},
};

/// What reconciles may take to finish at SIGTERM: longer than one call, well within a pod's 30 s.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(13);
/// What the last Events, and then the release of the Lease, may take.
const SHUTDOWN_STEP_TIMEOUT: Duration = Duration::from_secs(3);

/// The operator.
pub struct Operator {
    client: Client,
    children: Arc<ChildStore>,
    controllers: Arc<[Arc<dyn AnyController>]>,
    recorder: Recorder,
    metrics: Metrics,
    served: watch::Sender<ServedVersions>,
    children_synced: watch::Sender<bool>,
    leading: watch::Sender<bool>,
    synced: watch::Sender<bool>,
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operator").field("children", &self.children).finish_non_exhaustive()
    }
}

impl Operator {
    /// Joins the parts; nothing runs yet.
    #[must_use]
    pub fn new(config: &OperatorConfig, client: Client, telemetry: &Telemetry) -> Self {
        let (metrics, traces) = (telemetry.metrics(), telemetry.traces());
        let leading = watch::channel(false).0;
        let kinds = kinds::child_kinds();
        let children = Arc::new(ChildStore::new(client.clone(), &kinds, &config.namespaces, metrics.clone()));
        let recorder = Recorder::new(
            client.clone(),
            &runtime_info::reporting_instance(),
            metrics.clone(),
            traces.clone(),
        );
        recorder.require_leadership(leading.subscribe());
        let controllers = controllers(&SharedParts {
            applier: Applier::new(client.clone(), children.clone(), leading.subscribe()),
            recorder: recorder.clone(),
            observer: Observer::new(metrics.clone(), traces, children.clone(), leading.subscribe()),
            defaults: defaults(config),
            rollout_deadline: SignedDuration::try_from(config.rollout_deadline)
                .unwrap_or(SignedDuration::from_mins(10)),
        });
        Self {
            client,
            children,
            controllers: controllers.into(),
            recorder,
            metrics,
            served: watch::channel(ServedVersions::new()).0,
            children_synced: watch::channel(false).0,
            leading,
            synced: watch::channel(false).0,
        }
    }

    /// What `/readyz` answers.
    #[must_use]
    pub fn readiness(&self, stopping: watch::Receiver<bool>) -> http::ReadinessCheck {
        let synced = self.synced.subscribe();
        Arc::new(move || match (*stopping.borrow(), *synced.borrow()) {
            (true, _) => Err("stopping".to_owned()),
            (false, false) => Err("waiting for the first lists of all watches".to_owned()),
            (false, true) => Ok(()),
        })
    }

    /// Runs until `stopping`, and then to the end of what was begun.
    ///
    /// # Errors
    /// When one of its parts ends before, which none may.
    pub async fn run(
        self,
        config: OperatorConfig,
        place: RuntimeInfo,
        mut stopping: watch::Receiver<bool>,
    ) -> Result<(), PartEnded> {
        self.register_state_gauges();
        let watches: Vec<WatchHandle> = self
            .controllers
            .iter()
            .flat_map(|controller| controller.watch(&self.client, &config.namespaces))
            .collect();
        let mut parts = self.start_parts();
        tokio::select! {
            () = self.wait_for_cache_sync(&watches) => {}
            _ = stopping.wait_for(|stop| *stop) => return Ok(()),
            ended = parts.join_next() => return Err(PartEnded::from(ended)),
        }
        self.synced.send_replace(true);
        tracing::info!("ready: every watch has synced");
        let (release, released) = watch::channel(false);
        parts.spawn(on_leadership_acquired(self.controllers.clone(), self.leading.subscribe()));
        let leading = self.leading.clone();
        let election =
            run_leader_election(self.client.clone(), config.leader_elect, place, leading, released);
        let mut election = tokio::spawn(election);
        let mut working = JoinSet::new();
        for controller in &*self.controllers {
            working.spawn(controller.run_workers(config.concurrency, stopping.clone()));
        }
        let ended = tokio::select! {
            biased;
            _ = stopping.wait_for(|stop| *stop) => Ok(()),
            ended = parts.join_next() => Err(PartEnded::from(ended)),
            ended = &mut election => Err(PartEnded::from(Some(ended))),
            ended = working.join_next() => Err(PartEnded::from(ended)),
        };
        // The workers end as soon as they are to stop.
        let stopped = if *stopping.borrow() { Ok(()) } else { ended };
        self.drain(&mut working).await;
        release.send_replace(true);
        let _ = tokio::time::timeout(SHUTDOWN_STEP_TIMEOUT, election).await;
        stopped
    }

    /// Starts what runs for as long as the operator does.
    fn start_parts(&self) -> JoinSet<()> {
        let mut parts = JoinSet::new();
        let kinds = self.children.kinds().collect();
        parts.spawn(discovery::run(self.client.clone(), kinds, self.served.clone(), self.metrics.clone()));
        parts.spawn(sync_child_watches(
            self.children.clone(),
            self.change_handlers(),
            self.served.subscribe(),
            self.children_synced.clone(),
        ));
        let recorder = self.recorder.clone();
        parts.spawn(async move { recorder.run().await });
        parts
    }

    /// Lets the reconciles that are in flight finish, and publishes the last counts of Events.
    async fn drain(&self, working: &mut JoinSet<()>) {
        let drained = async { while working.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
            // Nothing may be written once the Lease is another's.
            working.abort_all();
            let running: usize = self.controllers.iter().map(|controller| controller.in_flight()).sum();
            tracing::warn!("{running} reconciles did not finish within {} s", DRAIN_TIMEOUT.as_secs());
        }
        if tokio::time::timeout(SHUTDOWN_STEP_TIMEOUT, self.recorder.flush()).await.is_err() {
            tracing::warn!("timed out flushing Event series");
        }
    }

    /// Waits for the first lists: of Elpio's own kinds, and of what is served and permitted.
    async fn wait_for_cache_sync(&self, watches: &[WatchHandle]) {
        for watch in watches {
            loop {
                let state = watch.state();
                if state == WatchState::Synced {
                    break;
                }
                if state == WatchState::Absent {
                    tracing::warn!(
                        "the CustomResourceDefinition of {} is not installed: apply deploy/crds",
                        watch.resource()
                    );
                }
                watch.state_changed(&state).await;
            }
        }
        let _ = self.children_synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// What a child's change and an API's arrival lead to. The store that calls them outlives no controller.
    fn change_handlers(&self) -> (OnChildChange, OnAvailabilityChange) {
        let (on_child, on_availability) =
            (Arc::downgrade(&self.controllers), Arc::downgrade(&self.controllers));
        let changed: OnChildChange = Arc::new(move |kind, change| {
            on_child
                .upgrade()
                .iter()
                .flat_map(|all| all.iter())
                .for_each(|c| c.on_child_change(kind, change));
        });
        let turned: OnAvailabilityChange = Arc::new(move || {
            let all = on_availability.upgrade();
            all.iter().flat_map(|all| all.iter()).for_each(|c| c.enqueue_all(Trigger::Dependency));
        });
        (changed, turned)
    }

    /// Lets the state gauges read the stores, while this process leads.
    fn register_state_gauges(&self) {
        let (controllers, leading) = (self.controllers.clone(), self.leading.subscribe());
        self.metrics.resources(move || {
            let states =
                leading.borrow().then(|| controllers.iter().map(|c| c.states()).collect::<Vec<_>>())?;
            let unsettled_age = states.iter().map(|states| (states.kind, states.unobserved_age)).collect();
            let by_state = states.into_iter().flat_map(|states| states.by_state).collect();
            Some(ResourceCounts::new(by_state, unsettled_age))
        });
        let leading = self.leading.subscribe();
        self.metrics.leader(move || *leading.borrow());
    }
}

/// A part of the operator ended while it was to run on.
#[derive(Debug, thiserror::Error)]
#[error("a part of the operator ended unexpectedly: {0}")]
pub struct PartEnded(String);

impl From<Option<Result<(), JoinError>>> for PartEnded {
    fn from(ended: Option<Result<(), JoinError>>) -> Self {
        Self(match ended {
            Some(Err(error)) => error.to_string(),
            Some(Ok(())) | None => "it returned".to_owned(),
        })
    }
}

/// Watches the children of what is served, and enqueues every object when that changes.
async fn sync_child_watches(
    children: Arc<ChildStore>,
    (changed, turned): (OnChildChange, OnAvailabilityChange),
    mut served: watch::Receiver<ServedVersions>,
    synced: watch::Sender<bool>,
) {
    while served.changed().await.is_ok() {
        let now = served.borrow_and_update().clone();
        children.set_served(&now, &changed, &turned).await;
        // The first time, everything is enqueued when this process begins to lead.
        if synced.send_replace(true) {
            turned();
        }
    }
}

/// Takes up the work whenever this process begins to lead.
async fn on_leadership_acquired(
    controllers: Arc<[Arc<dyn AnyController>]>,
    mut leading: watch::Receiver<bool>,
) {
    while leading.wait_for(|leading| *leading).await.is_ok() {
        for controller in &*controllers {
            controller.on_leadership_acquired().await;
        }
        if leading.wait_for(|leading| !*leading).await.is_err() {
            return;
        }
    }
}

/// Leads while it holds the Lease, or at once where there is no election, until it is to release it.
async fn run_leader_election(
    client: Client,
    elect: Option<bool>,
    place: RuntimeInfo,
    leading: watch::Sender<bool>,
    mut release: watch::Receiver<bool>,
) {
    if elect.unwrap_or(place.in_cluster) {
        LeaderElector::new(client, &place.namespace, place.lease_identity()).run(leading, release).await;
    } else {
        leading.send_replace(true);
        let _ = release.wait_for(|release| *release).await;
    }
}

fn defaults(config: &OperatorConfig) -> Defaults {
    Defaults {
        engine: config.engine,
        cluster_issuer: config.cluster_issuer.clone(),
        fetch_image: config.fetch_image.clone(),
        keda_interceptor: config.keda_interceptor.clone(),
        ..Defaults::default()
    }
}
