//! The owner of the children, as rendering and status see it. Pure but for the clock.

use kube::ResourceExt;

use crate::{
    api::{API_VERSION, annotation},
    cluster::clock,
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
