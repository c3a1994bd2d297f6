//! What the watches have seen, with our own writes laid over it; it reads no clock and makes no request.
//!
//! A watch lags behind our writes by a few milliseconds. A reconcile that ran in between would see the world
//! before its own write and write again. So the response of every write is kept here until the watch has
//! caught up with it. resourceVersions are compared as integers, which Kubernetes guarantees to clients
//! (KEP-5504).

pub mod backoff;
pub mod children;
pub mod definitions;
pub mod list_watch;
pub mod reflector;
pub mod shared_state;
pub mod watch_handle;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use kube::ResourceExt;
use parking_lot::RwLock;

use crate::cluster::ObjectKey;

/// How many deletions are remembered, to distinguish a late response from a new object.
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
    owner_of: fn(&K) -> Option<String>,
}

#[derive(Debug)]
struct Inner<K> {
    observed: HashMap<ObjectKey, Arc<K>>,
    assumed: HashMap<ObjectKey, Arc<K>>,
    owned: HashMap<String, BTreeSet<ObjectKey>>,
    deleted: VecDeque<(ObjectKey, u64)>,
}

/// A complete list of one scope: what it does not have is deleted.
#[derive(Debug)]
pub struct Relist<K> {
    /// The namespace that was listed; "" for all.
    pub scope: String,
    /// Everything in it.
    pub objects: Vec<K>,
    /// The list's own resourceVersion: it shows every write up to this one.
    pub version: u64,
    /// The API server's resourceVersions have gone backwards (etcd was restored): what was known before is
    /// no measure for what is listed now.
    pub rewound: bool,
}

/// One object's step from `old` to `new`.
#[derive(Debug, Clone)]
pub struct ObjectChange<K> {
    /// What was known before.
    pub old: Option<Arc<K>>,
    /// What is known now; `None`: deleted.
    pub new: Option<Arc<K>>,
    /// The watch merely shows a write of Elpio's own.
    pub own_write: bool,
}

impl<K: ResourceExt> ObjectChange<K> {
    /// The object that changed.
    #[must_use]
    pub fn key(&self) -> Option<ObjectKey> {
        self.new.as_ref().or(self.old.as_ref()).map(|o| ObjectKey::from_object(&**o))
    }
}

/// An object's resourceVersion as the integer that it is.
pub fn resource_version<K: ResourceExt>(object: &K) -> u64 {
    object.resource_version().and_then(|v| v.parse().ok()).unwrap_or(0)
}

impl<K: ResourceExt> ObjectStore<K> {
    /// An empty cache; `owner_of` gives the uid under which [`ObjectStore::owned_by`] finds an object.
    pub fn new(owner_of: fn(&K) -> Option<String>) -> Self {
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

    /// Takes a complete list. Returns what it changed.
    pub fn replace(&self, list: Relist<K>) -> Vec<ObjectChange<K>> {
        self.inner.write().replace(list, self.owner_of)
    }

    /// Takes an object as a watch shows it.
    pub fn apply(&self, object: K) -> ObjectChange<K> {
        self.inner.write().upsert(Arc::new(object), self.owner_of)
    }

    /// Takes a deletion, as a watch shows it or an answer confirms it.
    pub fn delete(&self, object: K) -> ObjectChange<K> {
        self.inner.write().remove(Arc::new(object), self.owner_of)
    }

    /// Lays the response of a write of this process over what the watch has seen so far. Returns what it changed;
    /// `None` where the watch was faster.
    pub fn assume(&self, object: K) -> Option<ObjectChange<K>> {
        let (key, version, object) =
            (ObjectKey::from_object(&object), resource_version(&object), Arc::new(object));
        let mut inner = self.inner.write();
        let old = inner.newest(&key);
        let buried = inner.deleted.iter().any(|(k, at)| *k == key && *at >= version);
        if buried || old.as_ref().is_some_and(|old| resource_version(&**old) >= version) {
            return None;
        }
        inner.reindex(&key, Some(&object), self.owner_of);
        inner.assumed.insert(key, object.clone());
        Some(ObjectChange { old, new: Some(object), own_write: false })
    }

    /// The API server answered that this object is gone.
    pub fn assume_deleted(&self, object: &K) {
        let mut inner = self.inner.write();
        let known = inner.newest(&ObjectKey::from_object(object)).filter(|known| known.uid() == object.uid());
        if let Some(known) = known {
            inner.remove(known, self.owner_of);
        }
    }
}

impl<K: ResourceExt> Inner<K> {
    fn newest(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.assumed.get(key).or_else(|| self.observed.get(key)).cloned()
    }

    fn reindex(&mut self, key: &ObjectKey, new: Option<&Arc<K>>, owner_of: fn(&K) -> Option<String>) {
        if let Some(uid) = self.newest(key).and_then(|old| owner_of(&old))
            && let Some(keys) = self.owned.get_mut(&uid)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.owned.remove(&uid);
            }
        }
        if let Some(uid) = new.and_then(|o| owner_of(o)) {
            self.owned.entry(uid).or_default().insert(key.clone());
        }
    }

    fn upsert(&mut self, object: Arc<K>, owner_of: fn(&K) -> Option<String>) -> ObjectChange<K> {
        let (key, rv) = (ObjectKey::from_object(&*object), resource_version(&*object));
        let old = self.newest(&key);
        let mut echo = false;
        if let Some(written) = self.assumed.get(&key).map(|w| resource_version(&**w)) {
            if written > rv {
                // The watch is still behind: what it shows is older than what is known.
                self.observed.insert(key, object.clone());
                return ObjectChange { old: old.clone(), new: old, own_write: true };
            }
            echo = written == rv;
        }
        self.reindex(&key, Some(&object), owner_of);
        self.assumed.remove(&key);
        self.observed.insert(key, object.clone());
        ObjectChange { old, new: Some(object), own_write: echo }
    }

    fn remove(&mut self, object: Arc<K>, owner_of: fn(&K) -> Option<String>) -> ObjectChange<K> {
        let (key, rv) = (ObjectKey::from_object(&*object), resource_version(&*object));
        let old = self.newest(&key);
        if self.assumed.get(&key).is_some_and(|w| resource_version(&**w) > rv) {
            // Deleted, and already created again by Elpio: the watch will show it.
            self.observed.remove(&key);
            return ObjectChange { old: old.clone(), new: old, own_write: true };
        }
        self.reindex(&key, None, owner_of);
        self.observed.remove(&key);
        self.assumed.remove(&key);
        if self.deleted.len() == MAX_TOMBSTONES {
            self.deleted.pop_front();
        }
        self.deleted.push_back((key, rv));
        ObjectChange { old: old.or(Some(object)), new: None, own_write: false }
    }

    fn replace(&mut self, list: Relist<K>, owner_of: fn(&K) -> Option<String>) -> Vec<ObjectChange<K>> {
        let Relist { scope, objects, version, rewound: is_rewound } = list;
        if is_rewound {
            // Writes of the lost future must not hide what is listed.
            let (rewound, kept) = std::mem::take(&mut self.assumed)
                .into_iter()
                .partition(|(key, _)| scope.is_empty() || key.namespace == scope);
            self.assumed = kept;
            self.observed.extend::<HashMap<_, _>>(rewound);
        }
        let listed: HashMap<ObjectKey, Arc<K>> =
            objects.into_iter().map(|o| (ObjectKey::from_object(&o), Arc::new(o))).collect();
        let unlisted =
            |key: &ObjectKey| (scope.is_empty() || key.namespace == scope) && !listed.contains_key(key);
        let unlisted_writes = self
            .assumed
            .iter()
            // What was written after the list was taken is not in it.
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
            // Nor must its deletions hide what is created now.
            self.deleted.clear();
        }
        changes
    }
}

#[cfg(test)]
#[path = "store_test.rs"]
mod tests;
