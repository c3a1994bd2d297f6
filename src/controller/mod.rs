//! Orchestration: watches fill queues, workers take turns, each turn is one reconcile. What a kind is stands
//! in its own file.

pub mod kinds;
mod mapper;
pub mod reconcile;
pub mod state_metrics;
pub mod workqueue;

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt;
use jiff::Timestamp;
use kube::{Api, Client, ResourceExt, core::DynamicObject};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    api::API_VERSION,
    cluster::{
        ObjectKey,
        store::{
            ObjectChange, ObjectStore,
            children::ChildStore,
            reflector::{self as watches, WatchHandle, WatchTarget},
        },
    },
    controller::{
        kinds::{Kind, Object},
        reconcile::{
            Reconciler,
            result::ReconcileResult,
            rollout_telemetry::{self, RolloutTelemetry},
            settle::Unanswered,
        },
        state_metrics::UnobservedGenerations,
        workqueue::{
            Requeue, WorkItem, WorkQueue, backoff,
            slots::{WorkerSlot, WorkerSlots},
        },
    },
    foreign::ChildKind,
    telemetry::{ReconcileInfo, Trigger},
};

/// So many times as many may wait to tell as may write at once.
const MAX_REPORTING_PER_SLOT: usize = 16;

/// One kind's controller.
pub struct Controller<K: Kind> {
    /// What is to be done.
    pub queue: Arc<WorkQueue>,
    /// The objects.
    pub store: Arc<ObjectStore<Object<K>>>,
    /// Since when an object's generation has not been observed.
    pub unobserved: Arc<UnobservedGenerations>,
    rollout_telemetry: RolloutTelemetry,
    unanswered: Arc<Unanswered>,
    is_leading: watch::Receiver<bool>,
}

impl<K: Kind> std::fmt::Debug for Controller<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controller").field("kind", &K::KIND).finish_non_exhaustive()
    }
}

impl<K: Kind> Clone for Controller<K> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            store: self.store.clone(),
            unobserved: self.unobserved.clone(),
            rollout_telemetry: self.rollout_telemetry.clone(),
            unanswered: self.unanswered.clone(),
            is_leading: self.is_leading.clone(),
        }
    }
}

impl<K: Kind> Controller<K> {
    /// A controller that works while `leading` says so.
    #[must_use]
    pub fn new(rollouts: RolloutTelemetry, leading: watch::Receiver<bool>) -> Self {
        let queue = Arc::new(WorkQueue::default());
        let probe = queue.clone();
        queue.with_metrics(rollouts.metrics.queue(K::KIND, move || probe.stats()));
        Self {
            queue,
            store: Arc::new(ObjectStore::new(|_| None)),
            unobserved: Arc::default(),
            rollout_telemetry: rollouts,
            unanswered: Arc::default(),
            is_leading: leading,
        }
    }

    /// Starts the watches of the kind itself, one for each namespace (none: all).
    #[must_use]
    pub fn watch(&self, client: &Client, namespaces: &[String]) -> Vec<WatchHandle> {
        let scopes = if namespaces.is_empty() { vec![String::new()] } else { namespaces.to_vec() };
        let start = |scope: String| {
            let api: Api<Object<K>> = if scope.is_empty() {
                Api::all(client.clone())
            } else {
                Api::namespaced(client.clone(), &scope)
            };
            let this = self.clone();
            let subject = WatchTarget { resource: K::KIND.as_str(), scope, selector: "" };
            watches::spawn(
                api,
                subject,
                self.store.clone(),
                &self.rollout_telemetry.metrics,
                move |change| this.on_object_change(&change),
                || {},
            )
        };
        scopes.into_iter().map(start).collect()
    }

    fn is_leader(&self) -> bool {
        *self.is_leading.borrow()
    }

    /// What an object's change means. Followers only keep their caches warm.
    fn on_object_change(&self, change: &ObjectChange<Object<K>>) {
        let Some(key) = change.key() else { return };
        self.unobserved.observe(&key, change.new.as_deref().and_then(|o| unobserved::<K>(o)));
        match &change.new {
            None => {
                self.queue.remove(&key);
                let Some(old) = &change.old else { return };
                let is_leader = self.is_leader();
                self.unanswered.gone::<K>(old, &self.rollout_telemetry, is_leader);
                if is_leader {
                    self.rollout_telemetry.deleted::<K>(old, Timestamp::now());
                }
            }
            Some(new) if self.is_leader() && !change.own_write => {
                if let Some(trigger) = trigger::<K>(change.old.as_deref(), new) {
                    self.queue.tell(key, trigger, change.told_by());
                }
            }
            Some(_) => {}
        }
    }

    /// What a child's change means for the objects of this kind.
    pub fn on_child_change(&self, kind: ChildKind, change: &ObjectChange<DynamicObject>) {
        if change.own_write || !self.is_leader() {
            return;
        }
        let keys = mapper::owners_to_enqueue::<K>(kind, change)
            .into_iter()
            .filter(|key| self.store.get(key).is_some());
        keys.for_each(|key| self.queue.tell(key, Trigger::Child, change.told_by()));
    }

    /// Looks at every object, as after a start, a take-over or the arrival of an API.
    pub fn enqueue_all(&self, trigger: Option<Trigger>) {
        if !self.is_leader() {
            return;
        }
        for object in self.store.all() {
            let why = trigger.unwrap_or(if unobserved::<K>(&object).is_some() {
                Trigger::Spec
            } else {
                Trigger::Resync
            });
            self.queue.add(ObjectKey::from_object(&*object), why);
        }
    }

    /// Takes up what a leader before us may have left.
    pub fn on_leadership_acquired(&self, children: &ChildStore) {
        let now = Timestamp::now();
        for object in self.store.all() {
            let live = children.controlled_by(object.uid().as_deref().unwrap_or_default());
            self.rollout_telemetry.reemit_recent::<K>(
                &object,
                &K::finished_builds(&live, &children.grandchildren_of(&live)),
                now,
            );
        }
        self.enqueue_all(None);
    }

    /// Works on `workers` objects at once until `stop` says true, and then finishes what runs.
    pub async fn run_workers(
        self,
        pipeline: Arc<Reconciler<K>>,
        workers: usize,
        mut stop: watch::Receiver<bool>,
    ) {
        let (slots, mut leading, mut running) =
            (WorkerSlots::new(workers), self.is_leading.clone(), JoinSet::new());
        loop {
            let next = async {
                let slot = slots.acquire_apply().await;
                let _ = leading.wait_for(|is_leader| *is_leader).await;
                (slot, self.queue.get().await)
            };
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                (slot, item) = next => running.spawn(self.clone().process(pipeline.clone(), item, slot)),
            };
            // Those that only wait to tell cost memory, so there is an end to their number.
            while running.try_join_next().is_some()
                || (running.len() >= workers * MAX_REPORTING_PER_SLOT && running.join_next().await.is_some())
            {
            }
        }
        while running.join_next().await.is_some() {}
    }

    async fn process(self, pipeline: Arc<Reconciler<K>>, item: WorkItem, mut slot: WorkerSlot) {
        let next = AssertUnwindSafe(self.reconcile_key(&pipeline, &item, &mut slot)).catch_unwind().await;
        // A fault of ours at one object must not cost the others their turn.
        let next = next.unwrap_or_else(|_| {
            tracing::error!(
                kind = K::KIND.as_str(),
                namespace = item.key.namespace,
                name = item.key.name,
                "the reconcile panicked; please report it"
            );
            Requeue {
                retry_after: Some(backoff::backoff(item.failures, backoff::jitter())),
                ..Requeue::default()
            }
        });
        self.queue.done(&item.key, &next);
    }

    async fn reconcile_key(
        &self,
        pipeline: &Reconciler<K>,
        item: &WorkItem,
        slot: &mut WorkerSlot,
    ) -> Requeue {
        let Some(object) =
            self.store.get(&item.key).filter(|o| o.metadata.deletion_timestamp.is_none() && self.is_leader())
        else {
            return Requeue::default();
        };
        self.unanswered.look::<K>(&object, &self.rollout_telemetry);
        let now = Timestamp::now();
        let place = self.rollout_telemetry.current::<K>(&object, now);
        let info = ReconcileInfo {
            kind: K::KIND,
            api_version: API_VERSION,
            namespace: item.key.namespace.clone(),
            name: item.key.name.clone(),
            uid: object.uid().unwrap_or_default(),
            generation: object.metadata.generation.unwrap_or(0),
            trigger: item.trigger,
            attempt: item.failures,
            place: place.telemetry.clone(),
        };
        let retried = item.trigger == Trigger::Retry;
        let reconcile = pipeline.reconcile(object.clone(), &place, item.failures, retried, slot);
        let run: ReconcileResult<K> =
            self.rollout_telemetry.metrics.reconcile(&self.rollout_telemetry.traces, info, reconcile).await;
        if run.status.is_some() {
            self.unobserved.observe(&item.key, None);
        }
        self.unanswered.settle(&object, &self.rollout_telemetry, &run, place.is_new);
        if self.store.get(&item.key).is_none_or(|now| now.uid() != object.uid()) {
            // Gone meanwhile, if for another of its name: nobody would ask for it again.
            self.unanswered.gone::<K>(&object, &self.rollout_telemetry, self.is_leader());
        }
        // What is past is no time to wait for: the retry is.
        let late = run
            .status
            .as_ref()
            .or(object.status.as_ref())
            .and_then(|status| rollout_telemetry::deadline_at::<K>(status, pipeline.rollout_timeout(&object)))
            .filter(|at| *at > now);
        let next = [late, run.due_at].into_iter().flatten().min();
        Requeue {
            retry_after: run.retry,
            resync_at: next
                .map(|at| Instant::now() + Duration::try_from(at.duration_since(now)).unwrap_or_default()),
            not_before: run.not_before.map(|pause| Instant::now() + pause),
            corrected_drift: run.corrected && item.trigger == Trigger::Child,
            wrote: run.wrote,
        }
    }
}

/// The generation of an object that its status does not speak of yet.
fn unobserved<K: Kind>(object: &Object<K>) -> Option<i64> {
    object
        .metadata
        .generation
        .filter(|generation| object.status.as_ref().and_then(K::observed_generation) != Some(*generation))
}

/// Why an object's change deserves a turn; `None` when nothing that we read has changed.
fn trigger<K: Kind>(old: Option<&Object<K>>, new: &Object<K>) -> Option<Trigger> {
    let Some(old) = old else {
        return Some(if unobserved::<K>(new).is_some() { Trigger::Spec } else { Trigger::Resync });
    };
    let edited = old.uid() != new.uid()
        || old.metadata.generation != new.metadata.generation
        || old.annotations() != new.annotations();
    if edited {
        return Some(Trigger::Spec);
    }
    // Somebody else wrote our status.
    (old.status != new.status).then_some(Trigger::Resync)
}
