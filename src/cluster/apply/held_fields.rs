//! Fields that the spec dropped and that could not be removed, because another manager holds them too: remembered,
//! so that the status names the manager as long as they are there. It makes no request.

use parking_lot::Mutex;
use serde_json::Value;

use crate::{
    cluster::{ObjectKey, apply::by_child::ByChild, store::children::ChildStore},
    foreign::ChildKind,
    render::field_managers::CoOwnedField,
};

/// The fields of each child.
#[derive(Debug, Default)]
pub struct HeldFields(Mutex<ByChild<Vec<CoOwnedField>>>);

impl HeldFields {
    /// Records what could not be removed. Children that no longer exist are forgotten.
    pub fn record(
        &self,
        children: &ChildStore,
        child: (ChildKind, ObjectKey),
        uid: &str,
        fields: Vec<CoOwnedField>,
    ) {
        let mut known = self.0.lock();
        let of_child = known.get_or_default(children, child, uid);
        of_child.retain(|field| fields.iter().all(|new| new.path != field.path));
        of_child.extend(fields);
    }

    /// What is still there of a child's fields and is not part of the manifest. `objects` returns the live object and
    /// the manifest, where that has to be found out.
    pub fn of_child(&self, uid: &str, objects: impl FnOnce() -> (Value, Value)) -> Vec<CoOwnedField> {
        let mut known = self.0.lock();
        let Some(fields) = known.get_mut(uid) else { return Vec::new() };
        let (live, manifest) = objects();
        fields.retain(|field| field.is_in(&live) && !field.is_in(&manifest));
        let held = fields.clone();
        if held.is_empty() {
            known.remove(uid);
        }
        held
    }
}
