//! Drift that a write does not correct because admission changes the object: remembered, so that the child is
//! not written again until something changes. Makes no requests.

use parking_lot::Mutex;

use crate::{
    cluster::{ObjectKey, apply::by_child::ByChild, store::children::ChildStore},
    foreign::ChildKind,
    render::drift::Difference,
};

/// The differences that remained after a child was written.
#[derive(Debug, Default)]
struct RemainingDrift {
    /// Of the manifest that was written.
    hash: String,
    differences: Vec<Difference>,
}

/// The remaining differences of each child.
#[derive(Debug, Default)]
pub struct PersistentDrift(Mutex<ByChild<RemainingDrift>>);

impl PersistentDrift {
    /// Whether a write of this manifest left exactly these differences.
    pub fn is_known(&self, uid: &str, hash: &str, differences: &[Difference]) -> bool {
        self.0
            .lock()
            .get_mut(uid)
            .is_some_and(|known| known.hash == hash && known.differences.as_slice() == differences)
    }

    /// Records the differences that a write left. Forgets children that no longer exist.
    pub fn record(
        &self,
        children: &ChildStore,
        child: (ChildKind, ObjectKey),
        (uid, hash): (&str, &str),
        differences: Vec<Difference>,
    ) {
        let mut known = self.0.lock();
        if differences.is_empty() {
            return known.remove(uid);
        }
        let remaining = RemainingDrift { hash: hash.to_owned(), differences };
        *known.get_or_default(children, child, uid) = remaining;
    }
}
