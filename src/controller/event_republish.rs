//! After a start or a take-over: which objects' recent Events are to be published again. It publishes nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use jiff::Timestamp;
use kube::ResourceExt;
use parking_lot::Mutex;

use crate::{
    cluster::{ObjectKey, clock, events::recorder::Recorder},
    controller::{
        kinds::{Kind, Object},
        reconcile::rollout_telemetry::REEMIT_WINDOW,
    },
};

/// Objects whose status changed within the last minute before this process led, with the names of the Events
/// that their namespace has.
#[derive(Debug, Default)]
pub struct EventRepublish(Mutex<HashMap<ObjectKey, Arc<BTreeSet<String>>>>);

impl EventRepublish {
    /// The names of the Events that need not be published again; `None` where nothing is to be.
    pub fn take(&self, key: &ObjectKey) -> Option<Arc<BTreeSet<String>>> {
        self.0.lock().remove(key)
    }

    /// I/O: one LIST for each namespace in which something changed just now.
    pub async fn collect<K: Kind>(&self, objects: &[Arc<Object<K>>], recorder: &Recorder) {
        let Ok(since) = clock::now().checked_sub(REEMIT_WINDOW) else { return };
        let mut by_namespace: BTreeMap<String, Vec<ObjectKey>> = BTreeMap::new();
        for object in objects.iter().filter(|object| changed_since::<K>(object, since)) {
            let key = ObjectKey::from_object(&**object);
            by_namespace.entry(object.namespace().unwrap_or_default()).or_default().push(key);
        }
        for (namespace, keys) in by_namespace {
            let names = Arc::new(recorder.published_names(&namespace).await);
            self.0.lock().extend(keys.into_iter().map(|key| (key, names.clone())));
        }
    }
}

/// Whether the stored status tells of a transition since then.
fn changed_since<K: Kind>(object: &Object<K>, since: Timestamp) -> bool {
    let Some(status) = &object.status else { return false };
    let rollout = K::rollout(status);
    let of_rollout = rollout.into_iter().flat_map(|rollout| [&rollout.started_at, &rollout.ended_at]);
    of_rollout.flatten().any(|at| at.0 >= since)
        || K::conditions(status).iter().any(|condition| condition.last_transition_time.0 >= since)
}
