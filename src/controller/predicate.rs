//! The predicate: why an object's change needs a reconcile. Pure.

use kube::ResourceExt;

use crate::{
    api::annotation,
    controller::{
        kinds::{Kind, Object},
        observer::unsettled_generation,
    },
    telemetry::Trigger,
};

/// The annotations whose change counts as an edit; other tools' annotations do not.
const READ_ANNOTATIONS: [&str; 4] =
    [annotation::REBUILD, annotation::BUILD, annotation::TRACEPARENT, annotation::KUBERNETES_TRACEPARENT];

/// Why an object's change needs a reconcile; `None` if nothing relevant changed.
pub(super) fn trigger_for<K: Kind>(old: Option<&Object<K>>, new: &Object<K>) -> Option<Trigger> {
    let Some(old) = old else {
        let is_new = unsettled_generation::<K>(new).is_some();
        return Some(if is_new { Trigger::Spec } else { Trigger::Resync });
    };
    let is_edited = old.uid() != new.uid()
        || old.metadata.generation != new.metadata.generation
        || READ_ANNOTATIONS.iter().any(|name| old.annotations().get(*name) != new.annotations().get(*name));
    if is_edited {
        return Some(Trigger::Spec);
    }
    // Another writer changed the status.
    (old.status != new.status).then_some(Trigger::Resync)
}
