//! Orchestration: watches fill the queue, workers take items from it, each item is one reconcile. Each kind
//! has its own file.

mod any_controller;
mod event_republish;
pub mod hosts;
pub mod kinds;
mod mapper;
mod observer;
mod predicate;
pub mod reconcile;
mod state_counts;
mod workers;
pub mod workqueue;

use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;
use kube::{Client, core::PartialObjectMeta};
use tokio::sync::watch;

use crate::{
    api::VERSION,
    cluster::{
        ObjectKey,
        store::{
            ObjectChange, ObjectStore,
            list_watch::ListWatch,
            reflector,
            shared_state::{WatchRole, WatchTarget},
            watch_handle::{WatchContext, WatchHandle},
        },
    },
    controller::{
        event_republish::EventRepublish,
        hosts::HostClaim,
        kinds::{Kind, Object},
        observer::{ChangeSource, ObjectObserver, unsettled_generation},
        predicate::trigger_for,
        reconcile::Reconciler,
        workqueue::WorkQueue,
    },
    foreign::ChildKind,
    telemetry::{self, KindCounts, Trigger},
};

pub use self::{
    any_controller::AnyController, kinds::controllers, observer::ObjectObserver as Observer,
    reconcile::rollout_telemetry::RolloutTelemetry,
};

/// One kind's controller.
#[derive(Debug)]
pub struct Controller<K: Kind> {
    queue: Arc<WorkQueue>,
    store: Arc<ObjectStore<Object<K>>>,
    observer: ObjectObserver,
    reconciler: Arc<Reconciler<K>>,
    republish: Arc<EventRepublish>,
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
    /// A controller for the kind of `reconciler`.
    #[must_use]
    pub fn new(reconciler: Reconciler<K>) -> Self {
        let queue = Arc::new(WorkQueue::default());
        let (observer, stats) = (reconciler.observer.clone(), queue.clone());
        queue.with_metrics(observer.rollouts.metrics.queue(K::KIND, move || stats.stats()));
        let (store, reconciler) = (reconciler.store.clone(), Arc::new(reconciler));
        Self { queue, store, observer, reconciler, republish: Arc::default() }
    }

    /// Handles an object's change. Followers only keep their stores up to date.
    fn on_object_change(&self, change: &ObjectChange<Object<K>>) {
        let Some(key) = change.key() else { return };
        // The watch may be faster than the response to a write.
        let is_processing = self.queue.is_processing(&key);
        let source = if is_processing { ChangeSource::Write } else { ChangeSource::Watch };
        self.observer.observe::<K>(change, source);
        let Some(new) = &change.new else {
            self.queue.remove(&key);
            return self.forget(&key);
        };
        self.observe_host(&key, Some(new));
        if self.observer.is_leader()
            && !change.own_write
            && let Some(trigger) = trigger_for::<K>(change.old.as_deref(), new)
            // The status may come from the reconcile in flight: `process` compares the versions when it ends.
            && (trigger == Trigger::Spec || !is_processing)
        {
            self.enqueue(key, trigger);
        }
    }

    /// Enqueues an object in the lane of the engine that its children use.
    fn enqueue(&self, key: ObjectKey, trigger: Trigger) {
        let lane = self.store.get(&key).map_or(0, |object| {
            K::lane(object.spec.as_ref().ok(), object.status.as_ref(), &self.reconciler.defaults)
        });
        self.queue.add_to(lane, key, trigger);
    }

    /// Forgets everything about a deleted object.
    fn forget(&self, key: &ObjectKey) {
        self.observe_host(key, None);
        self.observer.forget(key);
        self.republish.take(key);
        self.reconciler.pruned.forget(key);
    }

    /// Records the host that an object claims, and enqueues the objects that waited for a host that is now free.
    fn observe_host(&self, key: &ObjectKey, object: Option<&Object<K>>) {
        // If the spec cannot be read any more, its running children keep the host.
        if object.is_some_and(|object| object.spec.is_err()) {
            return;
        }
        let is_valid = |object| self.reconciler.validate(object).is_ok();
        let claim = object.and_then(|object| HostClaim::of_object::<K>(object, || is_valid(object)));
        let waiting = self.reconciler.hosts.observe(key, claim);
        if self.observer.is_leader() {
            for key in waiting {
                self.enqueue(key, Trigger::Dependency);
            }
        }
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
            let list_watch = ListWatch::new::<Object<K>>(client.clone(), &(), &scope, "");
            let this = self.clone();
            let target = WatchTarget { role: WatchRole::Own, resource: K::KIND.as_str(), scope };
            reflector::spawn(
                vec![(VERSION, list_watch)],
                target,
                self.store.clone(),
                context,
                move |change| this.on_object_change(&change),
                || {},
            )
        };
        scopes.into_iter().map(start).collect()
    }

    fn on_child_change(&self, kind: ChildKind, change: &ObjectChange<PartialObjectMeta>) {
        if change.own_write || !self.observer.is_leader() {
            return;
        }
        let keys = mapper::owners_to_enqueue::<K>(kind, change);
        let known = keys.into_iter().filter(|key| self.store.get(key).is_some());
        known.for_each(|key| self.enqueue(key, Trigger::Child));
    }

    fn enqueue_all(&self, namespace: &str, trigger: Trigger) {
        if !self.observer.is_leader() {
            return;
        }
        let keys = self.store.all().into_iter().map(|object| ObjectKey::from_object(&*object));
        let of_namespace = keys.filter(|key| namespace.is_empty() || key.namespace == namespace);
        of_namespace.for_each(|key| self.enqueue(key, trigger));
    }

    fn on_crd_change(&self) {
        self.reconciler.pruned.mark_outdated().into_iter().for_each(|key| self.enqueue(key, Trigger::Resync));
    }

    fn prepare_to_lead(&self, exported_until: Option<Timestamp>) {
        self.observer.prepare_to_lead::<K>(&self.store.all(), exported_until);
    }

    fn on_leadership_acquired(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let objects = self.store.all();
            let recent = self.republish.add_recent::<K>(&objects);
            let mut settled = Vec::new();
            for object in objects {
                let key = ObjectKey::from_object(&*object);
                if unsettled_generation::<K>(&object).is_some() {
                    self.enqueue(key, Trigger::Spec);
                } else if self.republish.contains(&key) {
                    settled.push(key);
                } else {
                    self.enqueue(key, Trigger::Resync);
                }
            }
            // Without recent edits, there is time to list the published Events.
            self.republish.list_published(recent, &self.reconciler.recorder).await;
            for key in settled {
                self.enqueue(key, Trigger::Resync);
            }
        })
    }

    fn run_workers(&self, workers: usize, stop: watch::Receiver<bool>) -> BoxFuture<'static, ()> {
        Box::pin(self.clone().work(workers, stop))
    }

    fn in_flight(&self) -> usize {
        self.queue.in_flight()
    }

    fn counts(&self) -> KindCounts {
        let refused = self.reconciler.children.watches().refused_namespaces(K::KIND.as_str());
        state_counts::kind_counts::<K>(&self.store, &self.observer.unsettled, &refused)
    }
}
