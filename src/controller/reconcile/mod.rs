//! One reconcile, for every kind: observe → validate → render → apply → status → event. Each step is marked
//! as I/O or pure.

pub mod failure;
pub mod merge_patch;
pub mod result;
pub mod rollout_telemetry;
pub mod settle;
pub mod unwritten;

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use tracing::Instrument;

use crate::{
    api::{API_VERSION, annotation, condition::reason, event::NewEvent},
    cluster::{
        apply::{Applier, result::ApplyResult},
        client::call::{ApiCall, ApiError, call_with_timeout},
        events::recorder::Recorder,
        store::{
            self, ObjectStore,
            children::{Availability, ChildStore},
        },
    },
    controller::{
        kinds::{Kind, Object, ReconcileContext},
        reconcile::{
            failure::FailureSummary,
            result::{ReconcileResult, apply_counts, event_reference, status_write_failed},
            rollout_telemetry::RolloutState,
            unwritten::Unwritten,
        },
        workqueue::{backoff, slots::WorkerSlot},
    },
    foreign::ChildKind,
    render::{
        Defaults, Desired, FieldError, Owner,
        applied::{ChildOutcome, LiveChildren},
    },
    status::{Observation, StatusInput, StatusUpdate, build::FinishedBuild},
    telemetry::{ErrorType, ReconcileReport, ReconcileStep, step},
};

/// What every reconcile of a kind works with.
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
    /// What the operator fills in.
    pub defaults: Defaults,
    /// How long a rollout may take.
    pub rollout_deadline: SignedDuration,
    /// What was said of an object and is not in its status yet.
    pub unwritten: Unwritten,
}

/// Events get no more time than this: a status is not to wait for them longer.
const EVENT_TIMEOUT: Duration = Duration::from_secs(5);

impl<K: Kind> std::fmt::Debug for Reconciler<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline").field("kind", &K::KIND).finish_non_exhaustive()
    }
}

/// What one pass through the steps found and did, before its status is written.
struct Attempt<K: Kind> {
    update: StatusUpdate<K::Status>,
    outcome: ApplyResult,
    invalid: Option<Vec<FieldError>>,
    live: LiveChildren,
    builds: Vec<FinishedBuild>,
    due_at: Option<Timestamp>,
}

impl<K: Kind> Reconciler<K> {
    /// Brings one object to where its spec says, as far as that can be done now.
    pub async fn reconcile(
        &self,
        mut object: Arc<Object<K>>,
        place: &RolloutState,
        failures: u32,
        retried: bool,
        slot: &mut WorkerSlot,
    ) -> ReconcileResult<K> {
        let mut attempts = 0;
        let mut said = Vec::new();
        loop {
            let attempt = self.attempt(&object, place, retried).await;
            // Another replica leads, or the owner is deleted: what was achieved is no basis for a status.
            if attempt.outcome.stopped.is_some() {
                return ReconcileResult::stale(K::engine(&attempt.update.status), attempt.outcome);
            }
            let again = attempt
                .outcome
                .failures
                .iter()
                .map(|(class, ..)| backoff::immediate_retries(*class))
                .max()
                .unwrap_or(0);
            if attempts < again {
                attempts += 1;
                continue;
            }
            if !attempt.update.events.is_empty() || object.status.as_ref() != Some(&attempt.update.status) {
                slot.move_to_reporting().await;
            }
            // I/O. Before the status, so that a crash in between loses none: the one who comes next finds
            // them published.
            self.publish_events(&object, &attempt.update.events, retried, &mut said).await;
            // I/O
            let written = self
                .write_status(&object, &attempt.update.status)
                .instrument(step(ReconcileStep::Status))
                .await;
            match written {
                Err(error)
                    if attempts < backoff::immediate_retries(error.class)
                        && matches!(error.class, ErrorType::Conflict | ErrorType::NotFound) =>
                {
                    attempts += 1;
                    match self.refresh(&object).await {
                        Ok(Some(newer)) => object = newer,
                        // Deleted, or edited meanwhile: the watch tells, and the next turn is about that.
                        Ok(None) => {
                            return ReconcileResult::stale(
                                K::engine(&attempt.update.status),
                                attempt.outcome,
                            );
                        }
                        Err(error) => {
                            return self
                                .finish(&object, attempt, Err(error), failures, !said.is_empty())
                                .await;
                        }
                    }
                }
                written => {
                    self.unwritten
                        .note(object.uid().as_deref().unwrap_or_default(), written.is_err().then_some(&said));
                    return self.finish(&object, attempt, written, failures, !said.is_empty()).await;
                }
            }
        }
    }

    async fn attempt(&self, object: &Object<K>, place: &RolloutState, retried: bool) -> Attempt<K> {
        let (name, namespace, uid) =
            (object.name_any(), object.namespace().unwrap_or_default(), object.uid().unwrap_or_default());
        let defaults = self.defaults();
        let owner = Owner {
            api_version: API_VERSION,
            kind: K::KIND.as_str(),
            namespace: &namespace,
            name: &name,
            uid: &uid,
            label: (K::OWNER_LABEL, &name),
            build: object.annotations().get(annotation::BUILD).map(String::as_str),
        };
        let input = StatusInput {
            generation: object.metadata.generation.unwrap_or(0),
            now: Timestamp::now(),
            is_retry: retried,
            rollout_started: place.is_new,
            first_observation: place.is_new
                || object.status.as_ref().and_then(K::observed_generation) != object.metadata.generation,
            rollout: place.status.clone(),
            deadline: self.rollout_timeout(object),
        };
        // Needs no client: the watches have brought everything here.
        let live = step(ReconcileStep::Observe).in_scope(|| self.children.controlled_by(&uid));
        let details = self.children.grandchildren_of(&live);
        let ctx = |live| ReconcileContext {
            owner,
            annotations: object.annotations(),
            live,
            grandchildren: &details,
            rollout: &place.status,
            defaults: &defaults,
            now: input.now,
        };
        // Pure
        let valid = match step(ReconcileStep::Validate).in_scope(|| Self::validate(&name, object, &defaults))
        {
            Ok(valid) => valid,
            Err(errors) => {
                let update = K::compute_status(
                    &ctx(&live),
                    object.status.as_ref(),
                    Observation::Invalid(&errors),
                    &input,
                );
                return Attempt {
                    update,
                    outcome: ApplyResult::default(),
                    invalid: Some(errors),
                    live,
                    builds: Vec::new(),
                    due_at: None,
                };
            }
        };
        // Pure
        let desired: Desired =
            step(ReconcileStep::Render).in_scope(|| K::render(&ctx(&live), object.status.as_ref(), &valid));
        // I/O
        let outcome = self.applier.apply(&owner, &desired.children, &live).await;
        let now = self.children.controlled_by(&uid);
        let details_now = self.children.grandchildren_of(&now);
        // Pure
        let observation =
            Observation::Applied { valid: &valid, desired: &desired, applied: &outcome.applied, live: &now };
        let observed_ctx = ReconcileContext { grandchildren: &details_now, ..ctx(&now) };
        let update = K::compute_status(&observed_ctx, object.status.as_ref(), observation, &input);
        let builds =
            if update.finished.is_some() { K::finished_builds(&now, &details_now) } else { Vec::new() };
        Attempt { update, outcome, invalid: None, live, builds, due_at: desired.due_at }
    }

    fn validate(name: &str, object: &Object<K>, defaults: &Defaults) -> Result<K::Valid, Vec<FieldError>> {
        let spec = object
            .spec
            .as_ref()
            .map_err(|error| vec![FieldError { path: error.path.clone(), message: error.message.clone() }])?;
        K::validate(name, spec, object.annotations(), defaults)
    }

    /// How long a rollout of this object may take.
    pub fn rollout_timeout(&self, object: &Object<K>) -> SignedDuration {
        let more = object.spec.as_ref().map_or(SignedDuration::ZERO, K::extra_rollout_time);
        self.rollout_deadline.saturating_add(more)
    }

    /// What the operator fills in, at the versions that the cluster serves.
    fn defaults(&self) -> Defaults {
        let mut defaults = self.defaults.clone();
        if let Availability::Ready(version) = self.children.availability(ChildKind::ExternalSecret) {
            defaults.external_secrets_version = version;
        }
        defaults
    }

    /// I/O: writes the status if it differs. Guarded by the resourceVersion, so that a leader that was
    /// replaced cannot undo its successor's.
    async fn write_status(&self, object: &Object<K>, status: &K::Status) -> Result<Option<u64>, ApiError> {
        if object.status.as_ref() == Some(status) {
            return Ok(None);
        }
        let old = object.status.as_ref().map(serde_json::to_value).transpose();
        let (Ok(old), Ok(new)) = (old, serde_json::to_value(status)) else {
            return Err(ApiError {
                call: Box::new(Self::call("patch", object)),
                cause: "the status cannot be written as JSON".into(),
                class: ErrorType::Internal,
                retry_after: None,
            });
        };
        let patch = serde_json::json!({
            "metadata": {"resourceVersion": object.resource_version(), "uid": object.uid()},
            "status": crate::controller::reconcile::merge_patch::merge_patch(&old.unwrap_or_default(), &new),
        });
        let api: Api<Object<K>> =
            Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default());
        let (name, params) = (object.name_any(), PatchParams::default());
        let mut written = call_with_timeout(
            Self::call("patch", object),
            api.patch_status(&name, &params, &Patch::Merge(patch)),
        )
        .await?;
        written.managed_fields_mut().clear();
        let version = store::resource_version(&written);
        self.store.assume(written);
        Ok(Some(version))
    }

    /// I/O: the object as it is now, if it still asks for the same. Only then it is laid into the cache: the
    /// event of an edit is news.
    async fn refresh(&self, object: &Object<K>) -> Result<Option<Arc<Object<K>>>, ApiError> {
        let api: Api<Object<K>> =
            Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default());
        let newer = call_with_timeout(Self::call("get", object), api.get_opt(&object.name_any())).await?;
        let same = |newer: &Object<K>| {
            newer.uid() == object.uid()
                && newer.metadata.generation == object.metadata.generation
                && newer.annotations() == object.annotations()
        };
        Ok(newer.filter(same).map(|newer| self.store.assume(newer)))
    }

    fn call(verb: &'static str, object: &Object<K>) -> ApiCall {
        let resource = format!("{}.{}", <Object<K> as kube::Resource>::plural(&()), crate::api::GROUP);
        let resource = if verb == "patch" { format!("{resource}/status") } else { resource };
        ApiCall { verb, resource, namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
    }

    /// I/O: says what became different, each thing once in a reconcile however often its passes find it.
    async fn publish_events(
        &self,
        object: &Object<K>,
        occurrences: &[NewEvent],
        retried: bool,
        said: &mut Vec<(&'static str, &'static str)>,
    ) {
        let known = self.unwritten.of(object.uid().as_deref().unwrap_or_default());
        // A failed attempt is an occurrence each time; anything else is one until the status has said so.
        let told = |o: &NewEvent| {
            said.contains(&(o.type_, o.reason))
                || (o.reason != reason::RECONCILE_FAILED && known.contains(&(o.type_, o.reason)))
        };
        let fresh: Vec<NewEvent> = occurrences.iter().filter(|o| !told(o)).cloned().collect();
        if fresh.is_empty() {
            return;
        }
        said.extend(fresh.iter().map(|o| (o.type_, o.reason)));
        let (recorder, regarding) = (self.recorder.clone(), event_reference::<K>(object, retried));
        let publish =
            async move { join_all(fresh.iter().map(|event| recorder.publish(&regarding, event))).await };
        // A task of its own, so that what takes longer is still written, while the status goes on.
        let publishing = tokio::spawn(publish.instrument(step(ReconcileStep::Event)));
        if tokio::time::timeout(EVENT_TIMEOUT, publishing).await.is_err() {
            tracing::warn!(
                "Events take longer than {} s; the status goes on without them",
                EVENT_TIMEOUT.as_secs()
            );
        }
    }

    /// I/O: says that the status could not be written, if so, and sums up.
    async fn finish(
        &self,
        object: &Object<K>,
        attempt: Attempt<K>,
        written: Result<Option<u64>, ApiError>,
        failures: u32,
        said: bool,
    ) -> ReconcileResult<K> {
        if let Err(error) = &written {
            // The status cannot tell, so the Event must.
            self.publish_events(object, &[status_write_failed(error)], true, &mut Vec::new()).await;
        }
        let mut summary = FailureSummary::from_attempt(
            attempt.invalid.as_deref(),
            &attempt.outcome,
            K::conditions(&attempt.update.status),
            failures,
        );
        let status_version = written.as_ref().ok().copied().flatten();
        if let Err(error) = written {
            summary.record(error.class, error.retry_after, error.to_string(), failures);
        }
        let stands = summary.failure.is_none() || summary.status_stands;
        let steps = &attempt.outcome.applied.outcomes;
        let changed = |known: bool| {
            steps
                .iter()
                .any(|(id, step)| *step == ChildOutcome::Changed && attempt.live.contains_key(id) == known)
        };
        let engine = K::engine(&attempt.update.status);
        let (status, unanswered) =
            if stands { (Some(attempt.update.status), None) } else { (None, Some(attempt.update.status)) };
        let report = ReconcileReport {
            engine,
            outcome: summary.outcome,
            applied: apply_counts(&attempt.outcome),
            changed_anything: status_version.is_some()
                || said
                || changed(true)
                || changed(false)
                || !attempt.outcome.applied.deleted.is_empty(),
            failure: summary.failure,
        };
        ReconcileResult {
            report,
            retry: summary.retry,
            not_before: summary.not_before,
            due_at: attempt.due_at,
            corrected: changed(true),
            wrote: attempt.outcome.wrote.iter().copied().chain(status_version).collect(),
            ended: attempt.update.ended,
            finished: attempt
                .update
                .finished
                .and_then(|name| attempt.builds.into_iter().find(|end| end.run == name)),
            status,
            unanswered,
        }
    }
}
