//! Per-child values, keyed by uid and kept for as long as the child exists. Makes no requests.

use std::collections::HashMap;

use crate::{
    cluster::{
        ObjectKey,
        store::{StoredObject, children::ChildStore},
    },
    foreign::ChildKind,
};

/// A value for each child.
#[derive(Debug)]
pub(super) struct ByChild<T>(HashMap<String, Remembered<T>>);

#[derive(Debug)]
struct Remembered<T> {
    kind: ChildKind,
    key: ObjectKey,
    value: T,
}

impl<T> Default for ByChild<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Default> ByChild<T> {
    /// The value of the child with this uid, if any.
    pub fn get_mut(&mut self, uid: &str) -> Option<&mut T> {
        self.0.get_mut(uid).map(|remembered| &mut remembered.value)
    }

    /// Like [`Self::get_mut`], but inserts a default if there is none. Forgets children that no longer exist.
    pub fn get_or_default(
        &mut self,
        children: &ChildStore,
        (kind, key): (ChildKind, ObjectKey),
        uid: &str,
    ) -> &mut T {
        self.0.retain(|uid, of| {
            children.get(of.kind, &of.key).is_some_and(|now| now.uid() == Some(uid.as_str()))
        });
        let remembered = || Remembered { kind, key, value: T::default() };
        &mut self.0.entry(uid.to_owned()).or_insert_with(remembered).value
    }

    pub fn remove(&mut self, uid: &str) {
        self.0.remove(uid);
    }
}
