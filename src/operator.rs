//! The operator's parts, joined: watches, caches, queues, workers, lease. It lives from the first list to the
//! last flushed Event.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use kube::{Client, CustomResourceExt};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    api::ElpioFunction,
    cluster::{
        apply::{Applier, recreate_backoff::RecreateBackoff},
        events::recorder::Recorder,
        leader_election::{LeaderElector, leadership::Leadership, lease_name},
        store::{
            children::{ChildStore, OnAvailabilityChange, OnChildChange},
            definitions::{self, DefinitionNames},
            shared_state::SharedWatchState,
            watch_handle::{WatchContext, WatchHandle, WatchState},
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
/// What a new leader's fresh lists may take.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(5);
/// Lists that are not older need no repetition.
const FRESH: Duration = Duration::from_secs(5);
/// What the last Events, and then the release of the Lease, may take.
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
    leadership: Leadership,
    watches: WatchContext,
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
    pub fn new(
        config: &OperatorConfig,
        client: Client,
        telemetry: &Telemetry,
        leadership: Leadership,
        watches: Arc<SharedWatchState>,
    ) -> Self {
        let (metrics, traces) = (telemetry.metrics(), telemetry.traces());
        let watches = WatchContext { shared: watches, metrics: metrics.clone() };
        let kinds = [Service::CHILD_KINDS, Function::CHILD_KINDS].concat();
        let children = Arc::new(ChildStore::new(client.clone(), &kinds, &config.namespaces, watches.clone()));
        let rollouts = RolloutTelemetry { traces: traces.clone(), metrics: metrics.clone() };
        let recorder =
            Recorder::new(client.clone(), &runtime_info::reporting_instance(), metrics.clone(), traces);
        let applier = Applier {
            client: client.clone(),
            children: children.clone(),
            pace: Arc::new(RecreateBackoff::default()),
        };
        Self {
            services: KindController::new(config, &applier, &recorder, &rollouts, leadership.subscribe()),
            functions: KindController::new(config, &applier, &recorder, &rollouts, leadership.subscribe()),
            client,
            children,
            recorder,
            metrics,
            leadership,
            watches,
            synced: watch::channel(false).0,
        }
    }

    /// What `/readyz` answers.
    #[must_use]
    pub fn readiness(&self, stopping: watch::Receiver<bool>) -> http::ReadinessCheck {
        let (synced, watches) = (self.synced.subscribe(), self.watches.shared.clone());
        Arc::new(move || {
            let refused = watches.not_watched(&[Service::KIND.as_str(), Function::KIND.as_str()]).join(", ");
            let with_refused = |text: &str| {
                if refused.is_empty() { text.to_owned() } else { format!("{text}; not watched: {refused}") }
            };
            match (*stopping.borrow(), *synced.borrow()) {
                (true, _) => Err("stopping".to_owned()),
                (false, false) => Err(with_refused("waiting for the first lists of all watches")),
                (false, true) => Ok(with_refused("ready")),
            }
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
        let mut own = self.services.controller.watch(&self.client, &config.namespaces, &self.watches);
        own.extend(self.functions.controller.watch(&self.client, &config.namespaces, &self.watches));
        let (on_child_change, on_availability_change) = self.change_handlers();
        self.children.start(&on_child_change, &on_availability_change);
        let mut background = JoinSet::new();
        background.spawn(definitions::run(
            self.client.clone(),
            definition_names(&self.children),
            self.watches.clone(),
        ));
        let recorder = self.recorder.clone();
        background.spawn(async move { recorder.run().await });
        tokio::select! {
            () = self.wait_for_cache_sync(&own) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        self.synced.send_replace(true);
        tracing::info!("ready: every watch that is permitted has synced");
        let (resign, resigning) = watch::channel(false);
        background.spawn(on_leadership_acquired(
            self.children.clone(),
            self.services.controller.clone(),
            self.functions.controller.clone(),
            self.leadership.clone(),
            own,
        ));
        let leading = tokio::spawn(run_leader_election(
            self.client.clone(),
            config.leader_elect,
            lease_name(&config.namespaces),
            place,
            self.leadership.clone(),
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

    /// Waits for the first lists of what is served and permitted, at least one of Elpio's own kinds.
    async fn wait_for_cache_sync(&self, own: &[WatchHandle]) {
        loop {
            futures::future::join_all(own.iter().map(WatchHandle::settled)).await;
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
            let _ = futures::future::select_all(changes).await;
        }
        self.children.wait_for_sync().await;
    }

    /// What follows from a child's change, and from an API's.
    fn change_handlers(&self) -> (OnChildChange, OnAvailabilityChange) {
        let (services, functions) = (self.services.controller.clone(), self.functions.controller.clone());
        let (also_services, also_functions) = (services.clone(), functions.clone());
        let changed: OnChildChange = Arc::new(move |kind, change| {
            services.on_child_change(kind, change);
            functions.on_child_change(kind, change);
        });
        let turned: OnAvailabilityChange = Arc::new(move |scope| {
            also_services.enqueue_all(scope, Some(Trigger::Dependency));
            also_functions.enqueue_all(scope, Some(Trigger::Dependency));
        });
        (changed, turned)
    }

    /// Lets the state gauges read the caches, while we lead.
    fn register_state_gauges(&self) {
        let (services, functions) = (self.services.controller.clone(), self.functions.controller.clone());
        let leadership = self.leadership.clone();
        self.metrics.resources(move || {
            let mut by_state =
                leadership.is_leading().then(|| state_metrics::count_by_state::<Service>(&services.store))?;
            let services_ready =
                by_state.iter().filter(|(_, ready, ..)| *ready == "true").map(|(.., count)| count).sum();
            by_state.extend(state_metrics::count_by_state::<Function>(&functions.store));
            let unsettled_age = vec![
                (Service::KIND, services.unobserved.max_age()),
                (Function::KIND, functions.unobserved.max_age()),
            ];
            Some(ResourceCounts { services_ready, by_state, unsettled_age })
        });
        let leadership = self.leadership.clone();
        self.metrics.leader(move || leadership.is_leading());
    }
}

/// The definitions whose arrival wakes a watch.
fn definition_names(children: &ChildStore) -> DefinitionNames {
    let function = (ElpioFunction::crd_name().to_owned(), Function::KIND.as_str());
    let of_children = children.kinds().filter_map(|kind| Some((kind.crd()?, kind.label())));
    of_children.chain([function]).collect()
}

/// Takes up the work whenever this process begins to lead: with fresh lists, since a watch that hangs would
/// show objects that were deleted.
async fn on_leadership_acquired(
    children: Arc<ChildStore>,
    services: Controller<Service>,
    functions: Controller<Function>,
    leadership: Leadership,
    own: Vec<WatchHandle>,
) {
    let (mut claims, mut leading) = (leadership.claims(), leadership.subscribe());
    while claims.wait_for(|claimed| *claimed).await.is_ok() {
        let refreshes = futures::future::join_all(own.iter().map(|watch| watch.refresh(FRESH)));
        if tokio::time::timeout(REFRESH_TIMEOUT, refreshes).await.is_err() {
            tracing::warn!("not every list could be refreshed within {} s", REFRESH_TIMEOUT.as_secs());
        }
        leadership.begin();
        services.on_leadership_acquired(&children);
        functions.on_leadership_acquired(&children);
        if leading.wait_for(|is_leader| !*is_leader).await.is_err() {
            return;
        }
    }
}

/// Leads while the Lease is held, or at once where there is no election, until it has to resign.
async fn run_leader_election(
    client: Client,
    elect: Option<bool>,
    lease: String,
    place: runtime_info::RuntimeInfo,
    leadership: Leadership,
    mut resigning: watch::Receiver<bool>,
) {
    if elect.unwrap_or(place.in_cluster) {
        let elector = LeaderElector::new(client, &place.namespace, lease, place.lease_identity());
        elector.run(leadership, resigning).await;
    } else {
        leadership.lead_without_election();
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
