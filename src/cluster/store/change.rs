//! What a list and a step of an object are. Data only.

use std::sync::Arc;

use crate::cluster::{ObjectKey, store::StoredObject};

/// A complete list of one scope: what it does not have is deleted.
#[derive(Debug)]
pub struct Relist<K> {
    /// The namespace that was listed; "" for all.
    pub scope: String,
    /// What is in it, but for `unchanged`.
    pub objects: Vec<K>,
    /// What is in it at the version that is known.
    pub unchanged: Vec<ObjectKey>,
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

impl<K: StoredObject> ObjectChange<K> {
    /// The object that changed.
    #[must_use]
    pub fn key(&self) -> Option<ObjectKey> {
        self.new.as_ref().or(self.old.as_ref()).map(|o| o.key())
    }
}

impl<K> Relist<K> {
    /// The list of a scope in which there is nothing.
    #[must_use]
    pub fn empty(scope: String) -> Self {
        Self { scope, objects: Vec::new(), unchanged: Vec::new(), version: u64::MAX, rewound: false }
    }
}
