//! One object to reconcile, and how its children and its Events refer to it. Pure.

use std::sync::Arc;

use kube::ResourceExt;

use crate::{
    api::annotation,
    cluster::{ObjectKey, events::recorder::Regarding, store::ObjectStore},
    controller::{
        event_republish::Republish,
        kinds::{Kind, Object, object_reference},
        reconcile::rollout_telemetry::{RolloutState, newest_rebuild},
        workqueue::WorkItem,
    },
    render::Owner,
    telemetry::ObjectReference,
};

/// One object to reconcile.
#[derive(Debug)]
pub struct ReconcileRequest<'a, K: Kind> {
    /// The object, from the store.
    pub object: &'a Object<K>,
    /// The reference to it.
    pub reference: Arc<ObjectReference>,
    /// Its rollout.
    pub rollout: &'a RolloutState,
    /// Its trigger, and how often it has failed.
    pub item: &'a WorkItem,
    /// After a start or a take-over: the Events of recent transitions that are to be published again.
    pub republish: Option<&'a Republish>,
}

impl<'a, K: Kind> ReconcileRequest<'a, K> {
    /// A request to reconcile this object.
    #[must_use]
    pub fn new(
        object: &'a Object<K>,
        rollout: &'a RolloutState,
        item: &'a WorkItem,
        republish: Option<&'a Republish>,
    ) -> Self {
        Self { object, reference: Arc::new(object_reference::<K>(object)), rollout, item, republish }
    }

    /// The object's `metadata.generation`.
    #[must_use]
    pub fn generation(&self) -> i64 {
        self.object.metadata.generation.unwrap_or(0)
    }

    /// The object as the owner of its children.
    pub(super) fn owner(&self) -> Owner<'_> {
        let object = &*self.reference;
        Owner {
            api_version: object.api_version,
            kind: object.kind.as_str(),
            namespace: &object.namespace,
            name: &object.name,
            uid: &object.uid,
            label: (K::OWNER_LABEL, &object.name),
            build: self.object.annotations().get(annotation::BUILD).map(String::as_str),
        }
    }

    /// The object as what its Events are about.
    pub(super) fn regarding(&self) -> Regarding {
        Regarding {
            object: self.reference.clone(),
            generation: self.generation(),
            rebuild: newest_rebuild::<K>(self.object).to_owned(),
            since: None,
            ids: None,
        }
    }
}

/// Whether the object is still in the store and not being deleted.
pub(super) fn is_owner_known<K: Kind>(store: &ObjectStore<Object<K>>, object: &Object<K>) -> bool {
    let known =
        store.get(&ObjectKey::from_object(object)).filter(|known| known.metadata.uid == object.metadata.uid);
    known.is_some_and(|known| known.metadata.deletion_timestamp.is_none())
}
