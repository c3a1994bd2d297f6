//! The owner of the children, as seen by render and status. Pure apart from the clock.

use kube::ResourceExt;

use crate::{
    api::{API_VERSION, annotation},
    cluster::{ObjectKey, clock, store::ObjectStore},
    controller::{
        kinds::{Kind, Object, ReconcileContext},
        reconcile::ReconcileRequest,
    },
    render::{Defaults, Owner, applied::LiveChildren},
};

/// The strings that an [`Owner`] borrows.
pub(super) struct OwnerMeta {
    pub namespace: String,
    name: String,
    pub uid: String,
    build: Option<String>,
    no_grandchildren: LiveChildren,
}

/// Whether the object is still in the store and not being deleted.
pub(super) fn is_owner_known<K: Kind>(store: &ObjectStore<Object<K>>, object: &Object<K>) -> bool {
    let known =
        store.get(&ObjectKey::from_object(object)).filter(|known| known.metadata.uid == object.metadata.uid);
    known.is_some_and(|known| known.metadata.deletion_timestamp.is_none())
}

impl OwnerMeta {
    pub fn of<K: Kind>(object: &Object<K>) -> Self {
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
            build: object.annotations().get(annotation::BUILD).cloned(),
            no_grandchildren: LiveChildren::new(),
        }
    }

    pub fn context<'a, K: Kind>(
        &'a self,
        request: &'a ReconcileRequest<'_, K>,
        live: &'a LiveChildren,
        defaults: &'a Defaults,
    ) -> ReconcileContext<'a> {
        let owner = Owner {
            api_version: API_VERSION,
            kind: K::KIND.as_str(),
            namespace: &self.namespace,
            name: &self.name,
            uid: &self.uid,
            label: (K::OWNER_LABEL, &self.name),
            build: self.build.as_deref(),
        };
        let (grandchildren, rollout) = (&self.no_grandchildren, &request.rollout.status);
        ReconcileContext { owner, live, grandchildren, rollout, defaults, now: clock::now() }
    }
}
