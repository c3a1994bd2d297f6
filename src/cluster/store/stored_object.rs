//! What a store needs from an object. It stores none.

use kube::Resource;

use crate::cluster::ObjectKey;

/// An object that a store can hold.
pub trait StoredObject {
    /// Its namespace and name.
    fn key(&self) -> ObjectKey;

    /// Its uid.
    fn uid(&self) -> Option<&str>;

    /// Its resourceVersion, if it has one.
    fn resource_version(&self) -> Option<u64>;
}

impl<K: Resource> StoredObject for K {
    fn key(&self) -> ObjectKey {
        ObjectKey::from_object(self)
    }

    fn uid(&self) -> Option<&str> {
        self.meta().uid.as_deref()
    }

    fn resource_version(&self) -> Option<u64> {
        self.meta().resource_version.as_deref().and_then(|version| version.parse().ok())
    }
}
