//! One reconcile, for every kind: validate → render → apply → status → Events. It marks each step as I/O or
//! pure, and enqueues nothing.

mod attempt;
pub mod failure;
pub mod merge_patch;
pub mod pruned;
pub mod request;
pub mod result;
pub mod rollout_telemetry;
mod status_write;

use std::{
    panic::{AssertUnwindSafe, resume_unwind},
    sync::Arc,
    time::Duration,
};

use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use kube::{Client, ResourceExt};

use crate::{
    api::{
        StatusParts,
        event::{NewEvent, event_type},
    },
    cluster::{
        apply::Applier,
        clock,
        events::{object::event_name, recorder::Recorder},
        store::{ObjectStore, children::ChildStore, watch_handle::WatchState},
    },
    controller::{
        hosts::{self, HostClaim, HostClaims},
        kinds::{Kind, Object, ReconcileContext},
        observer::ObjectObserver,
        reconcile::{
            attempt::{Attempt, SpecOutcome},
            pruned::PrunedStatuses,
            request::{ReconcileRequest, is_owner_known},
            result::{ReconcileResult, reconcile_panicked, status_write_failed},
            status_write::StatusWrite,
        },
        workqueue::slots::WorkerSlot,
    },
    foreign::ChildKind,
    render::{Defaults, FieldError, applied::LiveChildren},
    status::{Observation, StatusInput, StatusUpdate},
    telemetry::{ReconcilePanicked, ReconcileStep, Trigger, step},
};

/// The time limit for publishing the Event of a panic.
const EVENT_TIMEOUT: Duration = Duration::from_secs(5);

/// The dependencies of every reconcile of a kind.
pub struct Reconciler<K: Kind> {
    /// The client.
    pub client: Client,
    /// The objects of the kind.
    pub store: Arc<ObjectStore<Object<K>>>,
    /// Their children.
    pub children: Arc<ChildStore>,
    /// Writes children.
    pub applier: Applier,
    /// Publishes Events.
    pub recorder: Recorder,
    /// Observes every state that is written.
    pub observer: ObjectObserver,
    /// The operator's defaults for the spec.
    pub defaults: Defaults,
    /// How long a rollout may take.
    pub rollout_deadline: SignedDuration,
    /// Statuses that the API server stores only in part.
    pub pruned: PrunedStatuses<K>,
    /// Which object owns which host.
    pub hosts: HostClaims,
}

/// The most severe type of Event that a reconcile published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Published {
    Nothing,
    Normal,
    /// The reason of the Warning.
    Warning(&'static str),
}

impl<K: Kind> std::fmt::Debug for Reconciler<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reconciler").field("kind", &K::KIND).finish_non_exhaustive()
    }
}

impl<K: Kind> Reconciler<K> {
    /// Reconciles one object as far as currently possible. A panic resumes once its Event is published.
    pub async fn reconcile(
        &self,
        request: &ReconcileRequest<'_, K>,
        slot: &mut WorkerSlot,
    ) -> ReconcileResult {
        // A panic leaves only its own state behind: nothing that others read is half written.
        match AssertUnwindSafe(self.reconcile_once(request, slot)).catch_unwind().await {
            Ok(result) => result,
            Err(payload) => {
                let event = reconcile_panicked(&ReconcilePanicked::from_payload(&*payload));
                let regarding = request.regarding();
                let publish = Box::pin(self.recorder.publish(&regarding, &event));
                let _ = slot.while_writing(tokio::time::timeout(EVENT_TIMEOUT, publish)).await;
                resume_unwind(payload)
            }
        }
    }

    async fn reconcile_once(
        &self,
        request: &ReconcileRequest<'_, K>,
        slot: &mut WorkerSlot,
    ) -> ReconcileResult {
        // Boxed, so that a reconcile that waits to write its status frees the memory of applying.
        let attempt = match Box::pin(self.attempt(request, slot)).await {
            Ok(attempt) => attempt,
            Err(stale) => return stale,
        };
        let update = &attempt.update;
        if request.object.status.as_ref() != Some(&update.status) || !update.events.is_empty() {
            slot.move_to_status(&request.item.key.namespace).await;
        }
        let write = Box::pin(self.write_status(request.object, &update.status));
        let written = slot.while_writing(write).await; // I/O
        let published = self.publish_events(request, &update.events, &written); // I/O, later
        ReconcileResult::new(request, &attempt, &written, published, self.rollout_timeout(request.object))
    }

    /// Applies the children, and computes the status.
    async fn attempt(
        &self,
        request: &ReconcileRequest<'_, K>,
        slot: &mut WorkerSlot,
    ) -> Result<Attempt<K::Status>, ReconcileResult> {
        let (owner, now) = (request.owner(), clock::now());
        let live = step(ReconcileStep::Observe).in_scope(|| self.children.controlled_by(owner.uid)); // no I/O
        let (defaults, grandchildren) = (&self.defaults(owner.namespace), &LiveChildren::new());
        let (live, rollout) = (&live, &request.rollout.status);
        let ctx = ReconcileContext { owner, live, grandchildren, rollout, defaults, now };
        let applied = match step(ReconcileStep::Validate).in_scope(|| self.validate(request.object)) {
            // render: pure; apply: I/O
            Ok(valid) => slot.while_writing(Box::pin(self.apply(&ctx, request.object, valid))).await,
            Err(errors) => SpecOutcome::Invalid(errors),
        };
        if let Some(stale) = ReconcileResult::retry_if_stale(&applied, request, self.observer.is_leader()) {
            return Err(stale);
        }
        let input = self.status_input(request);
        let update = self.compute_status(&ctx, request.object, &applied, &input); // pure
        Ok(Attempt::new::<K>(applied, update, request.object, live))
    }

    /// Pure.
    pub(in crate::controller) fn validate(&self, object: &Object<K>) -> Result<K::Valid, Vec<FieldError>> {
        let spec = object
            .spec
            .as_ref()
            .map_err(|error| vec![FieldError { path: error.path.clone(), message: error.message.clone() }])?;
        let previous = object.status.as_ref();
        K::validate(&object.name_any(), spec, object.annotations(), previous, &self.defaults)
    }

    /// I/O: renders and applies the children.
    async fn apply(&self, ctx: &ReconcileContext<'_>, object: &Object<K>, valid: K::Valid) -> SpecOutcome<K> {
        let previous = object.status.as_ref();
        let desired = step(ReconcileStep::Render).in_scope(|| K::render(ctx, previous, &valid));
        let is_owner_known = || is_owner_known::<K>(&self.store, object);
        let result = match self.conflicting_host(object) {
            None => self.applier.apply(&ctx.owner, &is_owner_known, &desired.children, ctx.live).await,
            Some((host, owner)) => hosts::refused(&desired.children, &host, &owner, ctx.owner.namespace),
        };
        let now = self.children.controlled_by_reusing(ctx.owner.uid, ctx.live);
        SpecOutcome::Applied { valid, desired, result, now }
    }

    /// Claims the host of a valid object. Returns the host with its owner if another object owns it.
    fn conflicting_host(&self, object: &Object<K>) -> Option<(String, HostClaim)> {
        let (host, claim) = HostClaim::of_object::<K>(object, || true)?;
        let serves = |claim: &HostClaim| hosts::serves_host(&self.children.controlled_by(claim.uid()), &host);
        let refused = self.children.watches().refused_namespaces(K::KIND.as_str());
        let owner = self.hosts.acquire(&host, &claim, serves, &refused).err()?;
        Some((host, owner))
    }

    /// Pure: computes the status from the result.
    fn compute_status(
        &self,
        ctx: &ReconcileContext<'_>,
        object: &Object<K>,
        applied: &SpecOutcome<K>,
        input: &StatusInput,
    ) -> StatusUpdate<K::Status> {
        let previous = object.status.as_ref();
        match applied {
            SpecOutcome::Invalid(errors) => {
                K::compute_status(ctx, previous, Observation::Invalid(errors), input)
            }
            SpecOutcome::Applied { valid, desired, result, now } => {
                let grandchildren = self.children.grandchildren_of(now);
                let ctx = ReconcileContext { live: now, grandchildren: &grandchildren, ..*ctx };
                let applied = &result.applied;
                let observation = Observation::Applied { valid, desired, applied, live: now };
                K::compute_status(&ctx, previous, observation, input)
            }
        }
    }

    fn status_input(&self, request: &ReconcileRequest<'_, K>) -> StatusInput {
        let (object, rollout) = (request.object, request.rollout);
        let now = clock::now();
        let republish_since = request.republish.map(|republish| republish.since);
        let started = rollout.status.started_at.as_ref();
        let republishes_start = republish_since.zip(started).is_some_and(|(since, at)| at.0 >= since);
        let generation = object.metadata.generation;
        let is_observed = object.status.as_ref().and_then(StatusParts::observed_generation) == generation;
        StatusInput {
            generation: request.generation(),
            now,
            is_retry: request.item.trigger == Trigger::Retry && request.item.failures > 0,
            rollout_started: rollout.is_new,
            first_observation: rollout.is_new || !is_observed || republishes_start,
            rollout: rollout.status.clone(),
            rollout_timeout: self.rollout_timeout(object),
            contended: request.item.contended,
            republish_since,
        }
    }

    /// How long a rollout of this object may take.
    fn rollout_timeout(&self, object: &Object<K>) -> SignedDuration {
        let more = object.spec.as_ref().map_or(SignedDuration::ZERO, K::extra_rollout_time);
        self.rollout_deadline.saturating_add(more)
    }

    /// The operator's defaults, at the versions that the cluster serves.
    fn defaults(&self, namespace: &str) -> Defaults {
        let mut defaults = self.defaults.clone();
        if let WatchState::Synced(version) = self.children.availability(ChildKind::ExternalSecret, namespace)
        {
            defaults.external_secrets_version = version.into();
        }
        defaults
    }

    /// Queues the Events of a stored status, or the Event of a failed status write. Returns the
    /// most severe type.
    fn publish_events(
        &self,
        request: &ReconcileRequest<'_, K>,
        events: &[NewEvent],
        written: &StatusWrite,
    ) -> Published {
        let mut regarding = request.regarding();
        let events: Vec<NewEvent> = match written {
            StatusWrite::Stale => return Published::Nothing,
            // The transitions are not stored: the next attempt finds them again.
            StatusWrite::Failed(error) => vec![status_write_failed(error)],
            StatusWrite::Unchanged | StatusWrite::Written(_) => {
                let republish = request.republish;
                // An Event that the predecessor published, at any time, is the same occurrence.
                regarding.since = republish.map(|_| Timestamp::MIN);
                regarding.ids = republish.and_then(|r| request.rollout.republished_ids(r.since));
                let is_known = |event: &&NewEvent| {
                    republish.is_some_and(|r| r.published.contains(&event_name(&regarding, event)))
                };
                events.iter().filter(|event| !is_known(event)).cloned().collect()
            }
        };
        if events.is_empty() {
            return Published::Nothing;
        }
        let warning =
            events.iter().find(|event| event.type_ == event_type::WARNING).map(|event| event.reason);
        for event in &events {
            self.recorder.enqueue(&regarding, event);
        }
        warning.map_or(Published::Normal, Published::Warning)
    }
}
