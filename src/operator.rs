//! The operator's parts, joined: watches, caches, queues, workers, lease. It lives from the first list to the
//! last flushed Event.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use kube::Client;
use tokio::{sync::watch, task::JoinSet};

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
        Controller,
        kinds::{Kind, function::Function, service::Service},
        reconcile::{Reconciler, rollout_telemetry::RolloutTelemetry, unwritten::Unwritten},
        state_metrics,
    },
    http,
    render::Defaults,
    runtime_info,
    telemetry::{Metrics, ResourceCounts, Telemetry, Trigger},
};

/// What runs may take to finish at SIGTERM: longer than one call, well within a pod's 30 s.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(13);
/// What the last Events, and then giving back the Lease, may take.
const SHUTDOWN_STEP_TIMEOUT: Duration = Duration::from_secs(3);

/// One kind with all that it works with.
struct KindController<K: Kind> {
    controller: Controller<K>,
    pipeline: Arc<Reconciler<K>>,
}

impl<K: Kind> KindController<K> {
    fn new(
        config: &OperatorConfig,
        applier: &Applier,
        recorder: &Recorder,
        rollouts: &RolloutTelemetry,
        is_leader: watch::Receiver<bool>,
    ) -> Self {
        let controller = Controller::<K>::new(rollouts.clone(), is_leader);
        let pipeline = Arc::new(Reconciler {
            client: applier.client.clone(),
            store: controller.store.clone(),
            children: applier.children.clone(),
            applier: applier.clone(),
            recorder: recorder.clone(),
            defaults: defaults(config),
            rollout_deadline: SignedDuration::try_from(config.rollout_deadline)
                .unwrap_or(SignedDuration::from_mins(10)),
            unwritten: Unwritten::default(),
        });
        Self { controller, pipeline }
    }

    fn run_workers(
        &self,
        workers: usize,
        stopping: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send + use<K> {
        self.controller.clone().run_workers(self.pipeline.clone(), workers, stopping)
    }
}

/// The operator.
pub struct Operator {
    client: Client,
    children: Arc<ChildStore>,
    services: KindController<Service>,
    functions: KindController<Function>,
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
        let kinds = [Service::CHILD_KINDS, Function::CHILD_KINDS].concat();
        let children = Arc::new(ChildStore::new(client.clone(), &kinds, &config.namespaces, metrics.clone()));
        let rollouts = RolloutTelemetry { traces: traces.clone(), metrics: metrics.clone() };
        let recorder =
            Recorder::new(client.clone(), &runtime_info::reporting_instance(), metrics.clone(), traces);
        let applier = Applier::new(client.clone(), children.clone(), leading.subscribe());
        Self {
            services: KindController::new(config, &applier, &recorder, &rollouts, leading.subscribe()),
            functions: KindController::new(config, &applier, &recorder, &rollouts, leading.subscribe()),
            client,
            children,
            recorder,
            metrics,
            served: watch::channel(ServedVersions::new()).0,
            children_synced: watch::channel(false).0,
            leading,
            synced: watch::channel(false).0,
        }
    }

    /// What `/readyz` says.
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
    pub async fn run(
        self,
        config: OperatorConfig,
        place: runtime_info::RuntimeInfo,
        mut stopping: watch::Receiver<bool>,
    ) {
        self.register_state_gauges();
        let mut own = self.services.controller.watch(&self.client, &config.namespaces);
        own.extend(self.functions.controller.watch(&self.client, &config.namespaces));
        let mut background = JoinSet::new();
        let kinds = self.children.kinds().collect();
        background.spawn(discovery::run(
            self.client.clone(),
            kinds,
            self.served.clone(),
            self.metrics.clone(),
        ));
        background.spawn(sync_child_watches(
            self.children.clone(),
            self.change_handlers(),
            self.served.subscribe(),
            self.children_synced.clone(),
        ));
        let recorder = self.recorder.clone();
        background.spawn(async move { recorder.run().await });
        tokio::select! {
            () = self.wait_for_cache_sync(&own) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        self.synced.send_replace(true);
        tracing::info!("ready: every watch has synced");
        let (resign, resigning) = watch::channel(false);
        background.spawn(on_leadership_acquired(
            self.children.clone(),
            self.services.controller.clone(),
            self.functions.controller.clone(),
            self.leading.subscribe(),
        ));
        let leading = tokio::spawn(run_leader_election(
            self.client.clone(),
            config.leader_elect,
            place,
            self.leading.clone(),
            resigning,
        ));
        let services = self.services.run_workers(config.concurrency, stopping.clone());
        let functions = self.functions.run_workers(config.concurrency, stopping.clone());
        let mut working = tokio::spawn(async { tokio::join!(services, functions) });
        let _ = stopping.wait_for(|stop| *stop).await;
        if tokio::time::timeout(DRAIN_TIMEOUT, &mut working).await.is_err() {
            // Nothing is to be written once the Lease is another's.
            working.abort();
            let running =
                self.services.controller.queue.in_flight() + self.functions.controller.queue.in_flight();
            tracing::warn!("{running} reconciles did not finish within {} s", DRAIN_TIMEOUT.as_secs());
        }
        if tokio::time::timeout(SHUTDOWN_STEP_TIMEOUT, self.recorder.flush()).await.is_err() {
            tracing::warn!("the last counts of Events could not be told in time");
        }
        resign.send_replace(true);
        let _ = tokio::time::timeout(SHUTDOWN_STEP_TIMEOUT, leading).await;
    }

    /// Waits for the first lists: of our own kinds, and of what is served and permitted.
    async fn wait_for_cache_sync(&self, own: &[WatchHandle]) {
        for watch in own {
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
        let _ = self.children_synced.subscribe().wait_for(|followed| *followed).await;
    }

    /// Who is told of a child's change, and of an API's.
    fn change_handlers(&self) -> (OnChildChange, OnAvailabilityChange) {
        let (services, functions) = (self.services.controller.clone(), self.functions.controller.clone());
        let (also_services, also_functions) = (services.clone(), functions.clone());
        let changed: OnChildChange = Arc::new(move |kind, change| {
            services.on_child_change(kind, change);
            functions.on_child_change(kind, change);
        });
        let turned: OnAvailabilityChange = Arc::new(move || {
            also_services.enqueue_all(Some(Trigger::Dependency));
            also_functions.enqueue_all(Some(Trigger::Dependency));
        });
        (changed, turned)
    }

    /// Lets the state gauges read the caches, while we lead.
    fn register_state_gauges(&self) {
        let (services, functions) = (self.services.controller.clone(), self.functions.controller.clone());
        let leading = self.leading.subscribe();
        self.metrics.resources(move || {
            let mut by_state =
                leading.borrow().then(|| state_metrics::count_by_state::<Service>(&services.store))?;
            let services_ready =
                by_state.iter().filter(|(_, ready, ..)| *ready == "true").map(|(.., count)| count).sum();
            by_state.extend(state_metrics::count_by_state::<Function>(&functions.store));
            let unsettled_age = vec![
                (Service::KIND, services.unobserved.max_age()),
                (Function::KIND, functions.unobserved.max_age()),
            ];
            Some(ResourceCounts { services_ready, by_state, unsettled_age })
        });
        let leading = self.leading.subscribe();
        self.metrics.leader(move || *leading.borrow());
    }
}

/// Watches the children of what is served, and looks at every object when that changes.
async fn sync_child_watches(
    children: Arc<ChildStore>,
    (changed, turned): (OnChildChange, OnAvailabilityChange),
    mut served: watch::Receiver<ServedVersions>,
    followed: watch::Sender<bool>,
) {
    while served.changed().await.is_ok() {
        let now = served.borrow_and_update().clone();
        children.set_served(&now, &changed, &turned).await;
        // The first time, everything is looked at when we begin to lead.
        if followed.send_replace(true) {
            turned();
        }
    }
}

/// Takes up the work whenever we begin to lead.
async fn on_leadership_acquired(
    children: Arc<ChildStore>,
    services: Controller<Service>,
    functions: Controller<Function>,
    mut leading: watch::Receiver<bool>,
) {
    while leading.wait_for(|is_leader| *is_leader).await.is_ok() {
        services.on_leadership_acquired(&children);
        functions.on_leadership_acquired(&children);
        if leading.wait_for(|is_leader| !*is_leader).await.is_err() {
            return;
        }
    }
}

/// Leads while the Lease is ours, or at once where there is no election, until told to resign.
async fn run_leader_election(
    client: Client,
    elect: Option<bool>,
    place: runtime_info::RuntimeInfo,
    leading: watch::Sender<bool>,
    mut resigning: watch::Receiver<bool>,
) {
    if elect.unwrap_or(place.in_cluster) {
        LeaderElector::new(client, &place.namespace, place.lease_identity()).run(leading, resigning).await;
    } else {
        leading.send_replace(true);
        let _ = resigning.wait_for(|resign| *resign).await;
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
