//! The differences between Elpio's kinds, as a trait, and the list of kinds; everything else is in the
//! reconciler. Implementations are pure.

pub mod function;
pub mod service;

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use kube::{CustomResourceExt, ResourceExt};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    api::{
        API_VERSION, ElpioFunction, ElpioService, LenientObject, RolloutStatus, StatusParts, stored::SpecOf,
    },
    cluster::{
        apply::Applier,
        events::recorder::Recorder,
        store::{ObjectStore, children::ChildStore, crd_watch::CrdNames},
    },
    controller::{
        AnyController, Controller,
        hosts::HostClaims,
        observer::ObjectObserver,
        reconcile::{Reconciler, pruned::PrunedStatuses},
        workqueue::Lane,
    },
    foreign::ChildKind,
    render::{Defaults, Desired, FieldError, Owner, applied::LiveChildren},
    status::{Observation, StatusInput, StatusUpdate, build::FinishedBuild},
    telemetry::{self, ObjectReference},
};

/// An object of a kind, as stored by the watch.
pub type Object<K> = LenientObject<<K as Kind>::Spec, <K as Kind>::Status>;

/// The reference to an object.
#[must_use]
pub fn object_reference<K: Kind>(object: &Object<K>) -> ObjectReference {
    ObjectReference {
        kind: K::KIND,
        api_version: API_VERSION,
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
    }
}

/// The object being reconciled, and its rollout.
#[derive(Clone, Copy, Debug)]
pub struct ReconcileContext<'a> {
    /// The owner of the children.
    pub owner: Owner<'a>,
    /// The live children.
    pub live: &'a LiveChildren,
    /// The objects that the children control, if their kind is watched.
    pub grandchildren: &'a LiveChildren,
    /// The rollout of this generation.
    pub rollout: &'a RolloutStatus,
    /// The operator's defaults for the spec.
    pub defaults: &'a Defaults,
    /// The current time.
    pub now: Timestamp,
}

/// One of Elpio's kinds.
pub trait Kind: Send + Sync + Sized + 'static {
    /// Its spec.
    type Spec: SpecOf + DeserializeOwned + Clone + std::fmt::Debug + Send + Sync + 'static;
    /// Its status.
    type Status: StatusParts
        + Serialize
        + DeserializeOwned
        + Clone
        + PartialEq
        + std::fmt::Debug
        + Send
        + Sync
        + 'static;
    /// Its validated spec.
    type Valid: Send + Sync;

    /// The kind in telemetry.
    const KIND: telemetry::Kind;
    /// The label on its children.
    const OWNER_LABEL: &'static str;
    /// The kinds of its children, and of their watched children.
    const CHILD_KINDS: &'static [ChildKind];
    /// Whether the annotation `elpio.io/rebuild` starts a rollout.
    const SUPPORTS_REBUILD: bool = false;

    /// Checks every rule; `previous` is the stored status.
    ///
    /// # Errors
    /// All errors found.
    fn validate(
        name: &str,
        spec: &Self::Spec,
        annotations: &BTreeMap<String, String>,
        previous: Option<&Self::Status>,
        defaults: &Defaults,
    ) -> Result<Self::Valid, Vec<FieldError>>;

    /// The desired children of a valid spec; `previous` is the stored status.
    fn render(ctx: &ReconcileContext<'_>, previous: Option<&Self::Status>, valid: &Self::Valid) -> Desired;

    /// The status after a reconcile.
    fn compute_status(
        ctx: &ReconcileContext<'_>,
        previous: Option<&Self::Status>,
        observation: Observation<'_, Self::Valid>,
        input: &StatusInput,
    ) -> StatusUpdate<Self::Status>;

    /// The builds among the children that have finished.
    #[must_use]
    fn finished_builds(_live: &LiveChildren, _details: &LiveChildren) -> Vec<FinishedBuild> {
        Vec::new()
    }

    /// The run whose end the new status is the first to show.
    #[must_use]
    fn finished_build<'a>(_old: Option<&Self::Status>, _new: &'a Self::Status) -> Option<&'a str> {
        None
    }

    /// The host for clients outside the cluster. Only one object in the cluster can have it.
    #[must_use]
    fn host(_spec: &Self::Spec) -> Option<&str> {
        None
    }

    /// By how much its rollouts may exceed the configured deadline.
    #[must_use]
    fn extra_rollout_time(_spec: &Self::Spec) -> SignedDuration {
        SignedDuration::ZERO
    }

    /// The lane of the queue. Writes of objects in other lanes pass through other webhooks.
    #[must_use]
    fn lane(_spec: Option<&Self::Spec>, _previous: Option<&Self::Status>, _defaults: &Defaults) -> Lane {
        0
    }
}

/// The dependencies shared by all controllers.
#[derive(Clone, Debug)]
pub struct SharedDependencies {
    /// Writes children.
    pub applier: Applier,
    /// Publishes Events.
    pub recorder: Recorder,
    /// Observes every state of every object.
    pub observer: ObjectObserver,
    /// The operator's defaults for the spec.
    pub defaults: Defaults,
    /// How long a rollout may take.
    pub rollout_deadline: SignedDuration,
}

/// The controllers of all kinds: the only list of them.
#[must_use]
pub fn controllers(parts: &SharedDependencies) -> Vec<Arc<dyn AnyController>> {
    vec![controller::<service::Service>(parts), controller::<function::Function>(parts)]
}

/// The kinds of the children of every kind.
#[must_use]
pub fn child_kinds() -> Vec<ChildKind> {
    [service::Service::CHILD_KINDS, function::Function::CHILD_KINDS].concat()
}

/// The CRDs whose creation wakes a watch: their names, with the watched resource.
#[must_use]
pub fn crd_names(children: &ChildStore) -> CrdNames {
    let of_children = children.kinds().filter_map(|kind| Some((kind.crd()?, kind.label())));
    let own = [
        (ElpioService::crd_name().to_owned(), service::Service::KIND.as_str()),
        (ElpioFunction::crd_name().to_owned(), function::Function::KIND.as_str()),
    ];
    of_children.chain(own).collect()
}

/// The controller of a kind.
#[must_use]
pub fn controller<K: Kind>(parts: &SharedDependencies) -> Arc<dyn AnyController> {
    Arc::new(Controller::<K>::new(Reconciler {
        client: parts.applier.client.clone(),
        store: Arc::new(ObjectStore::new(|_| None)),
        children: parts.applier.children.clone(),
        applier: parts.applier.clone(),
        recorder: parts.recorder.clone(),
        observer: parts.observer.for_kind(),
        defaults: parts.defaults.clone(),
        rollout_deadline: parts.rollout_deadline,
        pruned: PrunedStatuses::default(),
        hosts: HostClaims::default(),
    }))
}

#[cfg(test)]
#[path = "third_kind_test.rs"]
mod tests;
