//! The result of a list, and the change of one object. Plain data.

use std::sync::Arc;

use crate::cluster::{ObjectKey, store::StoredObject};

/// A complete list of one scope: objects that it lacks are deleted.
#[derive(Debug)]
pub struct Relist<K> {
    /// The namespace that was listed; "" for all.
    pub scope: String,
    /// The listed objects, except `unchanged`.
    pub objects: Vec<K>,
    /// Listed objects whose version the store already has.
    pub unchanged: Vec<ObjectKey>,
    /// The list's own resourceVersion: the list includes every write up to it.
    pub version: u64,
    /// The API server's resourceVersions went backwards (etcd was restored): older state in the store does
    /// not compare with this list.
    pub rewound: bool,
}

/// One object's change from `old` to `new`.
#[derive(Debug, Clone)]
pub struct ObjectChange<K> {
    /// The object before the change.
    pub old: Option<Arc<K>>,
    /// The object after the change; `None`: deleted.
    pub new: Option<Arc<K>>,
    /// The watch only echoes one of Elpio's own writes.
    pub own_write: bool,
}

impl<K: StoredObject> ObjectChange<K> {
    /// The key of the object that changed.
    #[must_use]
    pub fn key(&self) -> Option<ObjectKey> {
        self.new.as_ref().or(self.old.as_ref()).map(|o| o.key())
    }
}

impl<K> Relist<K> {
    /// The list of an empty scope.
    #[must_use]
    pub fn empty(scope: String) -> Self {
        Self { scope, objects: Vec::new(), unchanged: Vec::new(), version: u64::MAX, rewound: false }
    }
}
