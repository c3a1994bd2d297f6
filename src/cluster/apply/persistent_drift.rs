//! Drift that a write does not correct, because admission changes what is written: remembered, so that it is
//! not written again until something changes. It makes no request.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::{
    cluster::{
        ObjectKey,
        store::{StoredObject, children::ChildStore},
    },
    foreign::ChildKind,
    render::drift::Difference,
};

/// What a child still differed in after it was written.
#[derive(Debug)]
struct RemainingDrift {
    kind: ChildKind,
    key: ObjectKey,
    hash: String,
    differences: Vec<Difference>,
}

/// The remaining differences, by the child's uid.
#[derive(Debug, Default)]
pub struct PersistentDrift(Mutex<HashMap<String, RemainingDrift>>);

impl PersistentDrift {
    /// Whether a write of this manifest left exactly these differences.
    pub fn is_known(&self, uid: &str, hash: &str, differences: &[Difference]) -> bool {
        self.0
            .lock()
            .get(uid)
            .is_some_and(|known| known.hash == hash && known.differences.as_slice() == differences)
    }

    /// Records what a write left. Children that no longer exist are forgotten.
    pub fn record(
        &self,
        children: &ChildStore,
        (kind, key): (ChildKind, ObjectKey),
        (uid, hash): (&str, &str),
        differences: Vec<Difference>,
    ) {
        let mut known = self.0.lock();
        if differences.is_empty() {
            known.remove(uid);
            return;
        }
        known.retain(|uid, of| {
            children.get(of.kind, &of.key).is_some_and(|now| now.uid() == Some(uid.as_str()))
        });
        known.insert(uid.to_owned(), RemainingDrift { kind, key, hash: hash.to_owned(), differences });
    }
}
