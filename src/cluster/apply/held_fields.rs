//! Fields that the spec dropped and that could not be removed, because another manager holds them too: remembered,
//! so that the status names the manager as long as they are there. It makes no request.

use std::collections::HashMap;

use parking_lot::Mutex;
use serde_json::Value;

use crate::{
    cluster::{
        ObjectKey,
        store::{StoredObject, children::ChildStore},
    },
    foreign::ChildKind,
    render::field_managers::CoOwnedField,
};

/// The fields of one child.
#[derive(Debug)]
struct OfChild {
    kind: ChildKind,
    key: ObjectKey,
    fields: Vec<CoOwnedField>,
}

/// The fields, by the child's uid.
#[derive(Debug, Default)]
pub struct HeldFields(Mutex<HashMap<String, OfChild>>);

impl HeldFields {
    /// Records what could not be removed. Children that no longer exist are forgotten.
    pub fn record(
        &self,
        children: &ChildStore,
        (kind, key): (ChildKind, ObjectKey),
        uid: &str,
        fields: Vec<CoOwnedField>,
    ) {
        let mut known = self.0.lock();
        known.retain(|uid, of| {
            children.get(of.kind, &of.key).is_some_and(|now| now.uid() == Some(uid.as_str()))
        });
        let of_child = known.entry(uid.to_owned()).or_insert(OfChild { kind, key, fields: Vec::new() });
        let is_new = |field: &CoOwnedField| fields.iter().all(|new| new.path != field.path);
        of_child.fields.retain(is_new);
        of_child.fields.extend(fields);
    }

    /// What is still there of a child's fields and is not part of the manifest. `objects` returns the live object and
    /// the manifest, where that has to be found out.
    pub fn of_child(&self, uid: &str, objects: impl FnOnce() -> (Value, Value)) -> Vec<CoOwnedField> {
        let mut known = self.0.lock();
        let Some(of_child) = known.get_mut(uid) else { return Vec::new() };
        let (live, manifest) = objects();
        of_child.fields.retain(|field| field.is_in(&live) && !field.is_in(&manifest));
        if of_child.fields.is_empty() {
            known.remove(uid);
            return Vec::new();
        }
        of_child.fields.clone()
    }
}
