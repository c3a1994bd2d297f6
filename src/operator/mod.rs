//! Assembles the operator: watches, stores, controllers, Lease. It runs from the first list to the last
//! flushed Event, and knows no kinds.

mod crd_change;
mod leading;
mod part;
mod readiness;
mod shutdown;
mod wiring;

use std::sync::Arc;

use jiff::SignedDuration;
use kube::Client;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    cluster::{
        apply::Applier,
        events::recorder::Recorder,
        leader_election::leadership::Leadership,
        store::{
            children::ChildStore,
            crd_watch,
            shared_state::SharedWatchState,
            watch_handle::{WatchContext, WatchHandle},
        },
    },
    config::OperatorConfig,
    controller::{
        AnyController, Observer, RolloutTelemetry, controllers,
        kinds::{self, SharedDependencies},
    },
    operator::shutdown::SHUTDOWN_STEP_TIMEOUT,
    render::Defaults,
    runtime_info::{self, RuntimeInfo},
    telemetry::{Metrics, Telemetry},
};

pub use self::part::TaskExited;

/// The operator.
pub struct Operator {
    client: Client,
    children: Arc<ChildStore>,
    controllers: Arc<[Arc<dyn AnyController>]>,
    recorder: Recorder,
    observer: Observer,
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
    /// Assembles the parts; starts nothing.
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
        let kinds = kinds::child_kinds();
        let children = Arc::new(ChildStore::new(client.clone(), &kinds, &config.namespaces, watches.clone()));
        let instance = runtime_info::reporting_instance();
        let recorder = Recorder::new(client.clone(), &instance, metrics.clone(), traces.clone());
        recorder.require_leadership(leadership.subscribe());
        let rollouts =
            RolloutTelemetry { traces, metrics: metrics.clone(), trace_parent: config.trace_parent };
        let observer = Observer::new(rollouts, children.clone(), leadership.subscribe());
        let controllers = controllers(&SharedDependencies {
            applier: Applier::new(client.clone(), children.clone(), leadership.subscribe()),
            recorder: recorder.clone(),
            observer: observer.clone(),
            defaults: defaults(config),
            rollout_deadline: SignedDuration::try_from(config.rollout_deadline)
                .unwrap_or(SignedDuration::from_mins(10)),
        });
        let (controllers, synced) = (controllers.into(), watch::channel(false).0);
        Self { client, children, controllers, recorder, observer, metrics, leadership, watches, synced }
    }

    /// Runs until `stopping`, then finishes the work in flight.
    ///
    /// # Errors
    /// If one of its background tasks exits early.
    pub async fn run(
        self,
        config: OperatorConfig,
        runtime_info: RuntimeInfo,
        mut stopping: watch::Receiver<bool>,
    ) -> Result<(), TaskExited> {
        self.register_state_gauges();
        let own: Vec<WatchHandle> = self
            .controllers
            .iter()
            .flat_map(|controller| controller.watch(&self.client, &config.namespaces, &self.watches))
            .collect();
        let mut parts = self.start_parts();
        tokio::select! {
            () = self.wait_for_cache_sync(&own) => {}
            _ = stopping.wait_for(|stop| *stop) => return Ok(()),
            ended = parts.join_next() => return Err(TaskExited::from(ended)),
        }
        self.synced.send_replace(true);
        tracing::info!("ready: all permitted watches have synced");
        let (controllers, leadership) = (self.controllers.clone(), self.leadership.clone());
        let metrics = self.metrics.clone();
        parts.spawn(leading::run_on_leadership(controllers, leadership.clone(), own, metrics));
        let (release, released) = watch::channel(false);
        let elected = leading::run_leader_election(
            self.client.clone(),
            config.clone(),
            runtime_info,
            leadership,
            released,
        );
        let mut election = tokio::spawn(elected);
        let mut working = JoinSet::new();
        for controller in &*self.controllers {
            working.spawn(controller.run_workers(config.concurrency, stopping.clone()));
        }
        let ended = tokio::select! {
            biased;
            _ = stopping.wait_for(|stop| *stop) => Ok(()),
            ended = parts.join_next() => Err(TaskExited::from(ended)),
            ended = &mut election => Err(TaskExited::from(Some(ended))),
            ended = working.join_next() => Err(TaskExited::from(ended)),
        };
        // Once `stopping` is true, the workers exit first: that is not an error.
        let stopped = if *stopping.borrow() { Ok(()) } else { ended };
        let drained = self.drain(&mut working).await;
        self.hand_over(drained).await;
        release.send_replace(true);
        let _ = tokio::time::timeout(SHUTDOWN_STEP_TIMEOUT, election).await;
        stopped
    }

    /// Starts the background tasks, which run as long as the operator.
    fn start_parts(&self) -> JoinSet<()> {
        let (on_child_change, on_availability_change) = self.change_handlers();
        self.children.start(&on_child_change, &on_availability_change);
        let mut parts = JoinSet::new();
        let names = kinds::crd_names(&self.children);
        parts.spawn(crd_watch::run(self.client.clone(), names, self.watches.clone()));
        for controller in self.controllers.iter().cloned() {
            let changed = self.watches.shared.crd_change(controller.kind().as_str());
            parts.spawn(crd_change::on_crd_changes(controller, changed));
        }
        let recorder = self.recorder.clone();
        parts.spawn(async move { recorder.run().await });
        parts
    }
}

fn defaults(config: &OperatorConfig) -> Defaults {
    Defaults {
        engine: config.engine,
        cluster_issuer: config.cluster_issuer.clone(),
        fetch_image: config.fetch_image.clone(),
        keda_interceptor: config.keda_interceptor.clone(),
        pod_security: config.pod_security,
        ..Defaults::default()
    }
}
