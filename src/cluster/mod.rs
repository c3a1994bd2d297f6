//! All I/O with the API server: client, stores, apply and prune, Events, Lease. It does not decide the
//! desired state.

pub mod apply;
pub mod client;
pub mod clock;
pub mod events;
pub mod leader_election;
pub mod round_robin;
pub mod store;
pub mod table;

use kube::ResourceExt;

/// Identifies an object among those of its kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectKey {
    /// The key of an object.
    pub fn from_object<K: ResourceExt>(object: &K) -> Self {
        Self { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
    }
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
