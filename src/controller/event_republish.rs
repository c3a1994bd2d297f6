//! After a start or a change of leader: which objects' recent Events to publish again. It publishes nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use kube::ResourceExt;
use parking_lot::Mutex;

use crate::{
    api::StatusParts,
    cluster::{ObjectKey, clock, events::recorder::Recorder},
    controller::{
        kinds::{Kind, Object},
        reconcile::rollout_telemetry::REEMIT_WINDOW,
    },
};

/// How many namespaces are listed concurrently, and the time limit for all of them.
const CONCURRENT_LISTS: usize = 8;
const LIST_TIMEOUT: Duration = Duration::from_secs(3);

/// The Events of an object to publish again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Republish {
    /// Publish the Events of transitions since this time, however late the object is reconciled.
    pub since: Timestamp,
    /// Except Events with these names: they exist in the namespace, as far as it could be listed.
    pub published: Arc<BTreeSet<String>>,
}

/// Objects whose status changed within the minute before this process led.
#[derive(Debug, Default)]
pub struct EventRepublish(Mutex<HashMap<ObjectKey, Republish>>);

impl EventRepublish {
    /// What to publish again for an object, if anything.
    pub fn take(&self, key: &ObjectKey) -> Option<Republish> {
        self.0.lock().remove(key)
    }

    /// Restores an entry after an attempt that did not store a status: the next one publishes the Events.
    pub fn put_back(&self, key: ObjectKey, republish: Republish) {
        self.0.lock().entry(key).or_insert(republish);
    }

    /// Whether Events of an object are to be published again.
    pub fn contains(&self, key: &ObjectKey) -> bool {
        self.0.lock().contains_key(key)
    }

    /// Records the objects with a recent transition. Returns them by namespace.
    pub fn add_recent<K: Kind>(&self, objects: &[Arc<Object<K>>]) -> BTreeMap<String, Vec<ObjectKey>> {
        let mut by_namespace: BTreeMap<String, Vec<ObjectKey>> = BTreeMap::new();
        let Ok(since) = clock::now().checked_sub(REEMIT_WINDOW) else { return by_namespace };
        for object in objects.iter().filter(|object| changed_since::<K>(object, since)) {
            let key = ObjectKey::from_object(&**object);
            self.0.lock().insert(key.clone(), Republish { since, published: Arc::default() });
            by_namespace.entry(object.namespace().unwrap_or_default()).or_default().push(key);
        }
        by_namespace
    }

    /// I/O: lists the Events of each namespace, within a time limit. Incomplete lists do no harm: names are
    /// derived, so a republished Event is found under its name.
    pub async fn list_published(&self, recent: BTreeMap<String, Vec<ObjectKey>>, recorder: &Recorder) {
        let lists = stream::iter(recent).for_each_concurrent(CONCURRENT_LISTS, async |(namespace, keys)| {
            let published = Arc::new(recorder.published_names(&namespace).await);
            let mut all = self.0.lock();
            for key in &keys {
                if let Some(republish) = all.get_mut(key) {
                    republish.published = published.clone();
                }
            }
        });
        let _ = tokio::time::timeout(LIST_TIMEOUT, lists).await;
    }
}

/// Whether the stored status has a transition since then.
fn changed_since<K: Kind>(object: &Object<K>, since: Timestamp) -> bool {
    let Some(status) = &object.status else { return false };
    let rollout = status.rollout();
    let of_rollout = rollout.into_iter().flat_map(|rollout| [&rollout.started_at, &rollout.ended_at]);
    of_rollout.flatten().any(|at| at.0 >= since)
        || status.conditions().iter().any(|condition| condition.last_transition_time.0 >= since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_back_keeps_its_time_and_replaces_nothing_newer() {
        let republish = EventRepublish::default();
        let key = ObjectKey { namespace: "ns".into(), name: "web".into() };
        let [old, new] =
            [Timestamp::UNIX_EPOCH, clock::now()].map(|since| Republish { since, published: Arc::default() });
        republish.put_back(key.clone(), old.clone());
        assert_eq!(republish.take(&key), Some(old.clone()), "of a take-over long ago");
        assert_eq!(republish.take(&key), None);
        republish.put_back(key.clone(), new.clone());
        republish.put_back(key.clone(), old);
        assert_eq!(republish.take(&key), Some(new), "this process lost the lead and leads again");
    }
}
