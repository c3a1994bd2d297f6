//! The state that the watches have seen, overlaid with our own writes. It reads no clock and makes no requests.
//!
//! A watch lags behind our writes by a few milliseconds. A reconcile in between would see the state before
//! its own write and write again, so the store keeps the response of every write until the watch has caught
//! up with it. resourceVersions are compared as integers, which Kubernetes guarantees to clients (KEP-5504).

pub mod backoff;
pub mod broadcast;
mod change;
pub mod children;
pub mod compact;
pub mod crd_watch;
mod list_page;
pub mod list_watch;
mod packed_text;
pub mod reflector;
pub mod shared_state;
mod stored_object;
pub mod watch_handle;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use parking_lot::RwLock;

use crate::cluster::{ObjectKey, table};

pub use crate::cluster::store::{
    change::{ObjectChange, Relist},
    stored_object::StoredObject,
};

/// How many deletions are remembered, to tell a late response from a new object.
const MAX_TOMBSTONES: usize = 1024;

/// The objects of one kind.
///
/// ```
/// use elpio_operator::cluster::{ObjectKey, store::ObjectStore};
/// use k8s_openapi::api::core::v1::Service;
///
/// let store = ObjectStore::<Service>::new(|_| None);
/// let mut service = Service::default();
/// service.metadata.name = Some("cart".into());
/// service.metadata.namespace = Some("shop".into());
/// let change = store.apply(service.clone());
/// assert!(change.old.is_none() && change.new.is_some());
/// assert!(store.get(&ObjectKey::from_object(&service)).is_some());
/// ```
#[derive(Debug)]
pub struct ObjectStore<K> {
    inner: RwLock<Inner<K>>,
    owner_of: fn(&K) -> Option<&str>,
}

#[derive(Debug)]
struct Inner<K> {
    observed: HashMap<Arc<ObjectKey>, Arc<K>>,
    assumed: HashMap<Arc<ObjectKey>, Arc<K>>,
    /// By the owner's uid; mostly of one child.
    owned: HashMap<Box<str>, Vec<Arc<ObjectKey>>>,
    deleted: VecDeque<(ObjectKey, u64)>,
}

/// An object's resourceVersion as an integer.
pub fn resource_version<K: StoredObject>(object: &K) -> u64 {
    object.resource_version().unwrap_or(0)
}

impl<K: StoredObject> ObjectStore<K> {
    /// An empty store; `owner_of` returns the uid under which [`ObjectStore::owned_by`] finds an object.
    pub fn new(owner_of: fn(&K) -> Option<&str>) -> Self {
        let inner = Inner {
            observed: HashMap::new(),
            assumed: HashMap::new(),
            owned: HashMap::new(),
            deleted: VecDeque::new(),
        };
        Self { inner: RwLock::new(inner), owner_of }
    }

    /// The newest known state of an object.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.inner.read().newest(key)
    }

    /// Every object.
    pub fn all(&self) -> Vec<Arc<K>> {
        let inner = self.inner.read();
        let fresh = inner
            .assumed
            .iter()
            .filter(|(key, _)| !inner.observed.contains_key(*key))
            .map(|(_, o)| o.clone());
        inner.observed.keys().filter_map(|key| inner.newest(key)).chain(fresh).collect()
    }

    /// The objects whose owner has this uid.
    pub fn owned_by(&self, uid: &str) -> Vec<Arc<K>> {
        let inner = self.inner.read();
        inner
            .owned
            .get(uid)
            .map(|keys| keys.iter().filter_map(|key| inner.newest(key)).collect())
            .unwrap_or_default()
    }

    /// Whether the watch has shown this object at this version: a list adds nothing.
    pub fn is_observed(&self, object: &K) -> bool {
        let inner = self.inner.read();
        let observed = inner.observed.get(&object.key());
        observed.is_some_and(|known| resource_version(&**known) == resource_version(object))
    }

    /// Replaces a scope with a complete list. Returns the changes.
    pub fn replace(&self, list: Relist<K>) -> Vec<ObjectChange<K>> {
        self.inner.write().replace(list, self.owner_of)
    }

    /// Stores an object that a watch shows.
    pub fn apply(&self, object: K) -> ObjectChange<K> {
        self.inner.write().upsert(Arc::new(object), self.owner_of)
    }

    /// Removes an object that a watch or a response shows as deleted.
    pub fn delete(&self, object: K) -> ObjectChange<K> {
        self.inner.write().remove(Arc::new(object), self.owner_of)
    }

    /// Overlays the response of one of this process's writes. Returns the change; `None` if the watch was
    /// faster.
    pub fn assume(&self, object: K) -> Option<ObjectChange<K>> {
        let (key, version, object) = (object.key(), resource_version(&object), Arc::new(object));
        let mut inner = self.inner.write();
        let old = inner.newest(&key);
        let buried = inner.deleted.iter().any(|(k, at)| *k == key && *at >= version);
        if buried || old.as_ref().is_some_and(|old| resource_version(&**old) >= version) {
            return None;
        }
        let key = inner.reindex(key, Some(&object), self.owner_of);
        inner.assumed.insert(key, object.clone());
        Some(ObjectChange { old, new: Some(object), own_write: false })
    }

    /// Records the API server's answer that this object does not exist.
    pub fn assume_deleted(&self, object: &K) {
        let mut inner = self.inner.write();
        let known = inner.newest(&object.key()).filter(|known| known.uid() == object.uid());
        if let Some(known) = known {
            inner.remove(known, self.owner_of);
        }
    }
}

impl<K: StoredObject> Inner<K> {
    fn newest(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.assumed.get(key).or_else(|| self.observed.get(key)).cloned()
    }

    /// Updates the owner index for the next state of an object. Returns its key, shared with the stored one.
    fn reindex(
        &mut self,
        key: ObjectKey,
        new: Option<&Arc<K>>,
        owner_of: fn(&K) -> Option<&str>,
    ) -> Arc<ObjectKey> {
        let known = self.observed.get_key_value(&key).or_else(|| self.assumed.get_key_value(&key));
        let shared = known.map_or_else(|| Arc::new(key), |(known, _)| known.clone());
        let old = self.newest(&shared);
        let (old, new) = (old.as_deref().and_then(owner_of), new.and_then(|object| owner_of(object)));
        if old == new {
            return shared;
        }
        if let Some(uid) = old
            && let Some(keys) = self.owned.get_mut(uid)
        {
            keys.retain(|key| **key != *shared);
            if keys.is_empty() {
                self.owned.remove(uid);
            }
        }
        if let Some(uid) = new {
            self.owned.entry(uid.into()).or_insert_with(|| Vec::with_capacity(1)).push(shared.clone());
        }
        shared
    }

    fn upsert(&mut self, object: Arc<K>, owner_of: fn(&K) -> Option<&str>) -> ObjectChange<K> {
        let (key, rv) = (object.key(), resource_version(&*object));
        let old = self.newest(&key);
        let mut echo = false;
        if let Some(written) = self.assumed.get(&key).map(|w| resource_version(&**w)) {
            if written > rv {
                // The watch is still behind: it shows an older state than the stored one.
                let shared = self.assumed.get_key_value(&key).map(|(shared, _)| shared.clone());
                self.observed.insert(shared.unwrap_or_else(|| Arc::new(key)), object.clone());
                return ObjectChange { old: old.clone(), new: old, own_write: true };
            }
            echo = written == rv;
        }
        let key = self.reindex(key, Some(&object), owner_of);
        self.assumed.remove(&key);
        self.observed.insert(key, object.clone());
        ObjectChange { old, new: Some(object), own_write: echo }
    }

    fn remove(&mut self, object: Arc<K>, owner_of: fn(&K) -> Option<&str>) -> ObjectChange<K> {
        let (key, rv) = (object.key(), resource_version(&*object));
        let old = self.newest(&key);
        if self.assumed.get(&key).is_some_and(|w| resource_version(&**w) > rv) {
            // Deleted, and already recreated by Elpio: the watch will show it.
            self.observed.remove(&key);
            return ObjectChange { old: old.clone(), new: old, own_write: true };
        }
        let shared = self.reindex(key.clone(), None, owner_of);
        self.observed.remove(&shared);
        self.assumed.remove(&shared);
        self.shrink();
        if self.deleted.len() == MAX_TOMBSTONES {
            self.deleted.pop_front();
        }
        self.deleted.push_back((key, rv));
        ObjectChange { old: old.or(Some(object)), new: None, own_write: false }
    }

    /// Gives back the memory of deleted objects.
    fn shrink(&mut self) {
        table::shrink(&mut self.observed);
        table::shrink(&mut self.assumed);
        table::shrink(&mut self.owned);
    }

    fn replace(&mut self, list: Relist<K>, owner_of: fn(&K) -> Option<&str>) -> Vec<ObjectChange<K>> {
        let Relist { scope, objects, unchanged, version, rewound: is_rewound } = list;
        if is_rewound {
            // Writes from before the restore must not hide the list.
            let (rewound, kept) = std::mem::take(&mut self.assumed)
                .into_iter()
                .partition(|(key, _)| scope.is_empty() || key.namespace == scope);
            self.assumed = kept;
            self.observed.extend::<HashMap<_, _>>(rewound);
        }
        let listed: HashMap<ObjectKey, Arc<K>> =
            objects.into_iter().map(|o| (o.key(), Arc::new(o))).collect();
        let unchanged: HashSet<ObjectKey> = unchanged.into_iter().collect();
        let unlisted = |key: &ObjectKey| {
            let is_listed = listed.contains_key(key) || unchanged.contains(key);
            (scope.is_empty() || key.namespace == scope) && !is_listed
        };
        let unlisted_writes = self
            .assumed
            .iter()
            // The list does not contain later writes.
            .filter(|(key, written)| unlisted(key) && resource_version(&***written) <= version);
        let deleted =
            self.observed.iter().filter(|(key, _)| unlisted(key) && !self.assumed.contains_key(*key));
        let deleted: Vec<Arc<K>> = deleted.chain(unlisted_writes).map(|(_, o)| o.clone()).collect();
        let mut changes: Vec<ObjectChange<K>> =
            deleted.into_iter().map(|o| self.remove(o, owner_of)).collect();
        for (key, object) in listed {
            let same = self
                .observed
                .get(&key)
                .is_some_and(|old| resource_version(&**old) == resource_version(&*object));
            if is_rewound || !same {
                changes.push(self.upsert(object, owner_of));
            }
        }
        if is_rewound {
            // Nor may deletions from before the restore hide new objects.
            self.deleted.clear();
        }
        changes
    }
}

#[cfg(test)]
#[path = "store_test.rs"]
mod tests;
