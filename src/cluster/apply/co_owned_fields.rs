//! Fields that the spec dropped but that another manager also owns, so they could not be removed: remembered
//! so that the status names the manager while they exist. Makes no requests.

use parking_lot::Mutex;
use serde_json::Value;

use crate::{
    cluster::{ObjectKey, apply::by_child::ByChild, store::children::ChildStore},
    foreign::ChildKind,
    render::field_managers::CoOwnedField,
};

/// The held fields of each child.
#[derive(Debug, Default)]
pub struct CoOwnedFields(Mutex<ByChild<Vec<CoOwnedField>>>);

impl CoOwnedFields {
    /// Records the fields that could not be removed. Forgets children that no longer exist.
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

    /// The recorded fields of a child that still exist and are not in the manifest. Calls `objects` for the
    /// live object and the manifest only if something is recorded.
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
