//! The workers of a kind: they take items from the queue; each item is one reconcile.
//!
//! Concurrency: in each lane (one per engine), about `ELPIO_CONCURRENCY` reconciles apply or write their
//! status (`workqueue/shared_slots.rs`). Fewer begin while an edit goes first (`workqueue/precedence.rs`).
//! This file limits the total in flight, including those that wait for a slot.

use std::{pin::pin, sync::Arc, task::Poll, time::Duration};

use futures::future::join_all;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    cluster::{clock, store::resource_version},
    controller::{
        Controller,
        kinds::{Kind, Object},
        predicate::trigger_for,
        reconcile::request::ReconcileRequest,
        workqueue::{
            LANES, Lane, Requeue, WorkItem,
            precedence::{Precedence, PrecedenceGate},
            retry,
            slots::{Load, WorkerSlot, WorkerSlots},
        },
    },
    telemetry::{ReconcileInfo, Trigger},
};

/// How many reconciles, as a multiple of `ELPIO_CONCURRENCY`, may wait to write their status or for a slow
/// write: each costs memory.
const MAX_IN_FLIGHT_PER_WORKER: usize = 128;

/// How long Events are held after a preferred reconcile begins.
const EVENTS_HELD: Duration = Duration::from_secs(1);

impl<K: Kind> Controller<K> {
    pub(super) async fn work(self, workers: usize, stop: watch::Receiver<bool>) {
        self.observer.rollouts.metrics.workers(K::KIND, workers);
        let gate = Arc::new(PrecedenceGate::new(workers));
        join_all((0..LANES).map(|lane| self.clone().run_lane(lane, workers, gate.clone(), stop.clone())))
            .await;
    }

    async fn run_lane(
        self,
        lane: Lane,
        workers: usize,
        gate: Arc<PrecedenceGate>,
        mut stop: watch::Receiver<bool>,
    ) {
        let (slots, mut running) = (WorkerSlots::new(workers, lane, gate.clone()), JoinSet::new());
        let acquire = || self.acquire(lane, &slots, &gate);
        let mut next = Box::pin(acquire());
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                // Frees the memory of a reconcile that has ended.
                Some(_) = running.join_next() => {}
                (slot, item) = &mut next => {
                    let object = self.store.get(&item.key);
                    slots.balance(Load {
                        precedence: slot.precedence(),
                        // No status has been written yet.
                        is_create: object.as_ref().is_some_and(|object| object.status.is_none()),
                        waiting: self.queue.waiting_to_apply(lane),
                        in_flight: running.len(),
                    });
                    running.spawn(self.clone().process(item, object, slot));
                    next.set(acquire());
                }
            }
            while running.len() >= workers * MAX_IN_FLIGHT_PER_WORKER {
                slots.set_idle();
                running.join_next().await;
            }
        }
        drop(next);
        slots.set_idle();
        while running.join_next().await.is_some() {}
    }

    /// A slot and the next item for it.
    async fn acquire(
        &self,
        lane: Lane,
        slots: &WorkerSlots,
        gate: &PrecedenceGate,
    ) -> (WorkerSlot, WorkItem) {
        let mut slot = slots.acquire().await;
        let mut leading = self.observer.leading();
        let mut next = pin!(async {
            let _ = leading.wait_for(|leading| *leading).await;
            self.next_item(lane, gate).await
        });
        let (item, precedence) = match futures::poll!(&mut next) {
            Poll::Ready(next) => next,
            Poll::Pending => {
                slot.wait_for_item();
                next.await
            }
        };
        slot.begin(precedence);
        (slot, item)
    }

    async fn next_item(&self, lane: Lane, gate: &PrecedenceGate) -> (WorkItem, Precedence) {
        loop {
            let changed = gate.changed();
            tokio::select! {
                biased;
                next = self.queue.get_from(lane, || gate.eligibility(lane)) => return next,
                () = changed => {}
            }
        }
    }

    async fn process(self, item: WorkItem, known: Option<Arc<Object<K>>>, mut slot: WorkerSlot) {
        let _active = self.reconciler.recorder.begin_reconcile();
        if known.is_none() {
            // If a response showed the deletion, a list may come before the watch event.
            self.forget(&item.key);
        }
        let object = known.filter(|object| object.metadata.deletion_timestamp.is_none());
        let Some(object) = object.filter(|_| self.observer.is_leader()) else {
            return self.queue.done(&item.key, &Requeue::default());
        };
        if slot.precedence() == Precedence::Preferred {
            self.reconciler.recorder.hold(EVENTS_HELD);
        }
        let (requeue, resource_version_after) = self.reconcile_object(&item, &object, &mut slot).await;
        let now = self.store.get(&item.key).filter(|_| self.observer.is_leader());
        // The response to the status write may already contain an edit that the watch has not shown; the
        // watch event then counts as the echo of the write.
        if let Some(now) = now.filter(|now| trigger_for::<K>(Some(&object), now) == Some(Trigger::Spec)) {
            self.observe_host(&item.key, Some(&now));
            self.enqueue(item.key.clone(), Trigger::Spec);
        }
        self.queue.done(&item.key, &requeue);
        // Another writer may have changed the status before the response to our write arrived.
        let now = resource_version_after.and_then(|version| Some((version, self.store.get(&item.key)?)));
        if now.is_some_and(|(version, now)| resource_version(&*now) > version) {
            self.enqueue(item.key, Trigger::Resync);
        }
    }

    /// Reconciles an object. Returns when it is due again and its resourceVersion afterwards.
    async fn reconcile_object(
        &self,
        item: &WorkItem,
        object: &Object<K>,
        slot: &mut WorkerSlot,
    ) -> (Requeue, Option<u64>) {
        let rollouts = &self.observer.rollouts;
        let rollout = rollouts.current::<K>(object, clock::now());
        let republish = self.republish.take(&item.key);
        let request = ReconcileRequest::new(object, &rollout, item, republish.as_ref());
        let info = ReconcileInfo {
            object: request.reference.clone(),
            generation: request.generation(),
            trigger: item.trigger,
            attempt: item.failures,
            parent: rollout.telemetry.clone(),
        };
        // Boxed, because each function that it passes through would hold another copy.
        let reconcile = Box::pin(self.reconciler.reconcile(&request, slot));
        let reconciled = rollouts.metrics.reconcile(&rollouts.traces, info, reconcile).await;
        let is_stored = reconciled.as_ref().is_ok_and(|result| result.resource_version_after.is_some());
        if let Some(republish) = republish.filter(|_| !is_stored) {
            self.republish.put_back(item.key.clone(), republish);
        }
        if reconciled.as_ref().map_or(true, |result| result.report.failure.is_some()) {
            self.observer.note_failure();
        }
        if let Ok(result) = reconciled {
            return (result.requeue, result.resource_version_after);
        }
        // It panicked, and telemetry has recorded that. The worker must survive for the other objects.
        let delay = retry::BACKOFF.jittered(item.failures);
        (Requeue { retry_after: Some(delay), ..Requeue::default() }, None)
    }
}
