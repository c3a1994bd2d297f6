//! Statuses that the API server stores without some fields, because the CRD is older than the operator:
//! written once, and again when the CRD changes, rather than at every reconcile. It writes nothing itself.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
};

use kube::{CustomResourceExt, ResourceExt};
use parking_lot::Mutex;

use crate::{
    api::stored::SpecOf,
    cluster::ObjectKey,
    controller::kinds::{Kind, Object},
};

/// The computed status, and the one stored instead.
struct PrunedStatus<S> {
    uid: Option<String>,
    wanted: S,
    stored: Option<S>,
    /// The CRD changed since: write the status again.
    outdated: bool,
}

/// The statuses of one kind that were stored in part.
pub struct PrunedStatuses<K: Kind> {
    by_object: Mutex<HashMap<ObjectKey, PrunedStatus<K::Status>>>,
    is_reported: AtomicBool,
}

impl<K: Kind> Default for PrunedStatuses<K> {
    fn default() -> Self {
        Self { by_object: Mutex::default(), is_reported: AtomicBool::new(false) }
    }
}

impl<K: Kind> PrunedStatuses<K> {
    /// Whether this status was already written and came back as it is stored now.
    pub fn is_known(&self, object: &Object<K>, status: &K::Status) -> bool {
        self.by_object.lock().get(&ObjectKey::from_object(object)).is_some_and(|pruned| {
            let same = pruned.wanted == *status && pruned.stored == object.status;
            same && pruned.uid == object.uid() && !pruned.outdated
        })
    }

    /// Forgets a deleted object.
    pub fn forget(&self, key: &ObjectKey) {
        self.by_object.lock().remove(key);
    }

    /// Marks all of them to be written again after a CRD change. Returns their objects.
    pub fn mark_outdated(&self) -> Vec<ObjectKey> {
        let mut by_object = self.by_object.lock();
        by_object.values_mut().for_each(|pruned| pruned.outdated = true);
        by_object.keys().cloned().collect()
    }

    /// Compares the response with the computed status. Logs the first difference, and again the first one
    /// after every status was stored in full.
    pub fn record(&self, written: &Object<K>, wanted: &K::Status) {
        let key = ObjectKey::from_object(written);
        if written.status.as_ref() == Some(wanted) {
            let mut by_object = self.by_object.lock();
            if by_object.remove(&key).is_some() && by_object.is_empty() {
                self.is_reported.store(false, Ordering::Relaxed);
            }
            return;
        }
        let (uid, stored) = (written.uid(), written.status.clone());
        self.by_object
            .lock()
            .insert(key, PrunedStatus { uid, wanted: wanted.clone(), stored, outdated: false });
        if !self.is_reported.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                crd = <K::Spec as SpecOf>::Kind::crd_name(),
                namespace = written.namespace(),
                name = written.name_any(),
                "the API server prunes status fields: the CRD is older than the operator; apply deploy/crds"
            );
        }
    }
}
