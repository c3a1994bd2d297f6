//! Maps a child's change to the objects it affects. Pure. `on_child_change` in `controller/mod.rs` skips own
//! writes.

use kube::{ResourceExt, core::PartialObjectMeta};

use crate::{
    api::GROUP,
    cluster::{ObjectKey, store::ObjectChange},
    controller::kinds::Kind,
    foreign::ChildKind,
};

/// The objects of this kind that control or controlled the child, and the one that may have waited for its name.
pub fn owners_to_enqueue<K: Kind>(
    kind: ChildKind,
    change: &ObjectChange<PartialObjectMeta>,
) -> Vec<ObjectKey> {
    let owners = [&change.old, &change.new]
        .into_iter()
        .flatten()
        .filter_map(|child| controller_owner::<K>(kind, child));
    // Objects that an engine creates have Elpio's labels, but the engine's object is their controller. They
    // are not children of the owner, but may hold a name that it needs: Knative's placeholder Service, the
    // HTTP add-on's own ScaledObject.
    let freed =
        change.old.iter().filter(|_| change.new.is_none()).filter_map(|child| owner_by_label::<K>(child));
    let mut keys: Vec<ObjectKey> = owners.chain(freed).collect();
    keys.dedup();
    keys
}

/// The object of this kind that controls a child, directly or (for a run's tasks) indirectly.
fn controller_owner<K: Kind>(kind: ChildKind, child: &PartialObjectMeta) -> Option<ObjectKey> {
    let reference = child.owner_references().iter().find(|o| o.controller == Some(true))?;
    let group = reference.api_version.split('/').next();
    if group == Some(GROUP) {
        let namespace = child.namespace().unwrap_or_default();
        return (reference.kind == K::KIND.as_str())
            .then(|| ObjectKey { namespace, name: reference.name.clone() });
    }
    // Tekton copies a run's labels to its tasks.
    (kind == ChildKind::TaskRun).then(|| owner_by_label::<K>(child)).flatten()
}

/// The object of this kind that a label names.
fn owner_by_label<K: Kind>(child: &PartialObjectMeta) -> Option<ObjectKey> {
    let name = child.labels().get(K::OWNER_LABEL)?.clone();
    Some(ObjectKey { namespace: child.namespace().unwrap_or_default(), name })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::controller::kinds::{function::Function, service::Service};

    fn child(owner: &str, owner_kind: &str, label: &str) -> Arc<PartialObjectMeta> {
        let metadata = json!({"name": "child", "namespace": "shop", "labels": {label: "cart"},
            "ownerReferences": [{"apiVersion": owner, "kind": owner_kind, "name": "cart", "uid": "1", "controller": true}]});
        Arc::new(
            serde_json::from_value(json!({"apiVersion": "v1", "kind": "X", "metadata": metadata})).unwrap(),
        )
    }

    fn enqueued(
        kind: ChildKind,
        old: Option<Arc<PartialObjectMeta>>,
        new: Option<Arc<PartialObjectMeta>>,
    ) -> (usize, usize) {
        let change = ObjectChange { old, new, own_write: false };
        (
            owners_to_enqueue::<Service>(kind, &change).len(),
            owners_to_enqueue::<Function>(kind, &change).len(),
        )
    }

    #[test]
    fn the_controller_is_enqueued_for_every_change_and_a_label_only_for_a_deletion() {
        let own = || Some(child("elpio.io/v1alpha1", "ElpioService", "elpio.io/service"));
        assert_eq!(enqueued(ChildKind::Deployment, own(), own()), (1, 0), "once");
        assert_eq!(enqueued(ChildKind::Deployment, own(), None), (1, 0));
        let engines = || Some(child("serving.knative.dev/v1", "Route", "elpio.io/service"));
        assert_eq!(
            enqueued(ChildKind::Service, engines(), engines()),
            (0, 0),
            "its changes concern the engine alone"
        );
        assert_eq!(enqueued(ChildKind::Service, engines(), None), (1, 0), "its name is free");
        let task = child("tekton.dev/v1", "PipelineRun", "elpio.io/function");
        assert_eq!(enqueued(ChildKind::TaskRun, None, Some(task)), (0, 1));
    }
}
