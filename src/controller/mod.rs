//! Orchestration: watches fill the queue, workers take items from it, each item is one reconcile. What a kind
//! is stands in its own file.

mod any_controller;
pub mod hosts;
pub mod kinds;
mod mapper;
mod observer;
pub mod reconcile;
mod state_metrics;
mod takeover;
mod trigger;
pub mod workqueue;

use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;
use kube::{Api, Client, ResourceExt, core::DynamicObject};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    api::{API_VERSION, VERSION},
    cluster::{
        ObjectKey, clock,
        store::{
            ObjectChange, ObjectStore, reflector, resource_version,
            watch_handle::{WatchContext, WatchHandle, WatchTarget},
        },
    },
    controller::{
        hosts::HostClaim,
        kinds::{Kind, Object},
        observer::{ChangeSource, ObjectObserver, unobserved_generation},
        reconcile::{ReconcileRequest, Reconciler},
        takeover::Republish,
        trigger::trigger,
        workqueue::{
            Requeue, WorkItem, WorkQueue, retry,
            slots::{WorkerSlot, WorkerSlots},
        },
    },
    foreign::ChildKind,
    telemetry::{self, ReconcileInfo, Trigger},
};

pub use self::{
    any_controller::AnyController, kinds::controllers, observer::ObjectObserver as Observer,
    reconcile::rollout_telemetry::RolloutTelemetry, state_metrics::KindStates,
};

/// So many times as many may wait to report as may apply at once: those that only report cost memory.
const MAX_REPORTING_PER_SLOT: usize = 16;

/// One kind's controller.
#[derive(Debug)]
pub struct Controller<K: Kind> {
    queue: Arc<WorkQueue>,
    store: Arc<ObjectStore<Object<K>>>,
    observer: ObjectObserver,
    reconciler: Arc<Reconciler<K>>,
    republish: Arc<Republish>,
}

impl<K: Kind> Clone for Controller<K> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            store: self.store.clone(),
            observer: self.observer.clone(),
            reconciler: self.reconciler.clone(),
            republish: self.republish.clone(),
        }
    }
}

impl<K: Kind> Controller<K> {
    /// A controller that works with `reconciler`.
    #[must_use]
    pub fn new(reconciler: Reconciler<K>) -> Self {
        let queue = Arc::new(WorkQueue::default());
        let (observer, stats) = (reconciler.observer.clone(), queue.clone());
        queue.with_metrics(observer.rollouts.metrics.queue(K::KIND, move || stats.stats()));
        let (store, reconciler) = (reconciler.store.clone(), Arc::new(reconciler));
        Self { queue, store, observer, reconciler, republish: Arc::default() }
    }

    /// What an object's change means. Followers only keep their stores warm.
    fn on_object_change(&self, change: &ObjectChange<Object<K>>) {
        let Some(key) = change.key() else { return };
        // The watch may be faster than the response to a write.
        let is_processing = self.queue.is_processing(&key);
        let source = if is_processing { ChangeSource::Write } else { ChangeSource::Watch };
        self.observer.observe::<K>(change, source);
        self.observe_host(&key, change.new.as_deref());
        let Some(new) = &change.new else {
            self.queue.remove(&key);
            self.observer.forget(&key);
            self.reconciler.pruned.forget(&key);
            return;
        };
        if self.observer.is_leader()
            && !change.own_write
            && let Some(trigger) = trigger::<K>(change.old.as_deref(), new)
            // A status may be that of the reconcile in flight: `process` compares the versions at its end.
            && (trigger == Trigger::Spec || !is_processing)
        {
            self.queue.add(key, trigger);
        }
    }

    /// Takes note of the host that an object asks for. Those that wait for one that is free now go on.
    fn observe_host(&self, key: &ObjectKey, object: Option<&Object<K>>) {
        // What runs of a spec that cannot be read any more keeps its host.
        if object.is_some_and(|object| object.spec.is_err()) {
            return;
        }
        let is_valid = |object| self.reconciler.validate(object).is_ok();
        let claim = object.and_then(|object| HostClaim::of_object::<K>(object, || is_valid(object)));
        let waiting = self.reconciler.hosts.observe(key, claim);
        if self.observer.is_leader() {
            for key in waiting {
                self.queue.add(key, Trigger::Dependency);
            }
        }
    }

    async fn work(self, workers: usize, mut stop: watch::Receiver<bool>) {
        self.observer.rollouts.metrics.workers(K::KIND, workers);
        let (slots, mut running) = (WorkerSlots::new(workers), JoinSet::new());
        let mut leading = self.observer.leading();
        loop {
            let next = async {
                let slot = slots.acquire_apply().await;
                let _ = leading.wait_for(|leading| *leading).await;
                (slot, self.queue.get().await)
            };
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                (slot, item) = next => running.spawn(self.clone().process(item, slot)),
            };
            while running.try_join_next().is_some()
                || (running.len() >= workers * MAX_REPORTING_PER_SLOT && running.join_next().await.is_some())
            {
            }
        }
        while running.join_next().await.is_some() {}
    }

    async fn process(self, item: WorkItem, mut slot: WorkerSlot) {
        let (requeue, settled_version) = self.reconcile_key(&item, &mut slot).await;
        self.queue.done(&item.key, &requeue);
        // Another writer may have changed the status since it was written, as while Events were published.
        let now = settled_version.and_then(|version| Some((version, self.store.get(&item.key)?)));
        if now.is_some_and(|(version, now)| resource_version(&*now) > version) {
            self.queue.add(item.key, Trigger::Resync);
        }
    }

    /// Reconciles an object. Returns when it is due again, and the version that it was left at.
    async fn reconcile_key(&self, item: &WorkItem, slot: &mut WorkerSlot) -> (Requeue, Option<u64>) {
        let object = self.store.get(&item.key).filter(|object| object.metadata.deletion_timestamp.is_none());
        let Some(object) = object.filter(|_| self.observer.is_leader()) else {
            return (Requeue::default(), None);
        };
        let rollouts = &self.observer.rollouts;
        let rollout = rollouts.current::<K>(&object, clock::now());
        let info = ReconcileInfo {
            kind: K::KIND,
            api_version: API_VERSION,
            namespace: item.key.namespace.clone(),
            name: item.key.name.clone(),
            uid: object.uid().unwrap_or_default(),
            generation: object.metadata.generation.unwrap_or(0),
            trigger: item.trigger,
            attempt: item.failures,
            parent: rollout.telemetry.clone(),
        };
        let republish = self.republish.take(&item.key);
        let request = ReconcileRequest { object: &object, rollout: &rollout, item, republish };
        let reconcile = self.reconciler.reconcile(&request, slot);
        let reconciled = rollouts.metrics.reconcile(&rollouts.traces, info, reconcile).await;
        if reconciled.as_ref().map_or(true, |result| result.report.failure.is_some()) {
            self.observer.note_failure();
        }
        if let Ok(result) = reconciled {
            return (result.requeue, result.settled_version);
        }
        // It panicked, which telemetry has recorded. It must not cost the others their worker.
        let delay = retry::BACKOFF.jittered(item.failures);
        (Requeue { retry_after: Some(delay), ..Requeue::default() }, None)
    }
}

impl<K: Kind> AnyController for Controller<K> {
    fn kind(&self) -> telemetry::Kind {
        K::KIND
    }

    fn child_kinds(&self) -> &'static [ChildKind] {
        K::CHILD_KINDS
    }

    fn watch(&self, client: &Client, namespaces: &[String], context: &WatchContext) -> Vec<WatchHandle> {
        let scopes = if namespaces.is_empty() { vec![String::new()] } else { namespaces.to_vec() };
        let start = |scope: String| {
            let api: Api<Object<K>> = if scope.is_empty() {
                Api::all(client.clone())
            } else {
                Api::namespaced(client.clone(), &scope)
            };
            let this = self.clone();
            let target = WatchTarget { resource: K::KIND.as_str(), scope, selector: "" };
            reflector::spawn(
                vec![(VERSION, api)],
                target,
                self.store.clone(),
                context,
                move |change| this.on_object_change(&change),
                || {},
            )
        };
        scopes.into_iter().map(start).collect()
    }

    fn on_child_change(&self, kind: ChildKind, change: &ObjectChange<DynamicObject>) {
        if change.own_write || !self.observer.is_leader() {
            return;
        }
        let keys = mapper::owners_to_enqueue::<K>(kind, change);
        let known = keys.into_iter().filter(|key| self.store.get(key).is_some());
        known.for_each(|key| self.queue.add(key, Trigger::Child));
    }

    fn enqueue_all(&self, namespace: &str, trigger: Trigger) {
        if !self.observer.is_leader() {
            return;
        }
        let keys = self.store.all().into_iter().map(|object| ObjectKey::from_object(&*object));
        let of_namespace = keys.filter(|key| namespace.is_empty() || key.namespace == namespace);
        of_namespace.for_each(|key| self.queue.add(key, trigger));
    }

    fn on_definition_change(&self) {
        self.reconciler.pruned.drain().into_iter().for_each(|key| self.queue.add(key, Trigger::Resync));
    }

    fn on_leadership_acquired(&self, exported_until: Option<Timestamp>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let objects = self.store.all();
            self.observer.on_leadership_acquired::<K>(&objects, exported_until);
            self.republish.collect::<K>(&objects, &self.reconciler.recorder).await;
            for object in self.store.all() {
                let is_new = unobserved_generation::<K>(&object).is_some();
                let trigger = if is_new { Trigger::Spec } else { Trigger::Resync };
                self.queue.add(ObjectKey::from_object(&*object), trigger);
            }
        })
    }

    fn run_workers(&self, workers: usize, stop: watch::Receiver<bool>) -> BoxFuture<'static, ()> {
        Box::pin(self.clone().work(workers, stop))
    }

    fn in_flight(&self) -> usize {
        self.queue.in_flight()
    }

    fn states(&self) -> KindStates {
        state_metrics::kind_states::<K>(&self.store, &self.observer.unobserved)
    }
}
