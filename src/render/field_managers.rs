//! Fields that another manager owns besides Elpio, read from `metadata.managedFields`: server-side apply does
//! not remove them when the spec drops them. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::{Map, Value};

use crate::api::FIELD_MANAGER;

/// A field that Elpio applied before, no longer applies, and that still exists because others own it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoOwnedField {
    /// The field's path: `spec.template.spec.containers[web].env[A]`.
    pub path: String,
    /// The managers that own it.
    pub managers: Vec<String>,
    /// Its JSON pointer in the live object, as segments.
    pointer: Vec<Segment>,
    /// The field's path, as steps of a field set.
    steps: Vec<String>,
}

impl CoOwnedField {
    /// Whether an object has the field.
    #[must_use]
    pub fn is_in(&self, object: &Value) -> bool {
        locate(self.steps.iter().map(String::as_str), object).is_some()
    }
}

/// A step of a JSON pointer, ordered so that list items are removed from last to first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Index(usize),
    Key(String),
}

/// Drops an object's entries unless another manager also owns a field that Elpio applies: most objects have
/// none, and the entries are larger than the object.
pub fn retain_shared(entries: &mut Vec<ManagedFieldsEntry>) {
    let shared =
        applied_fields(entries).is_some_and(|applied| others(entries).any(|(_, set)| overlap(applied, set)));
    if !shared {
        entries.clear();
    }
}

/// The fields that were applied before, are no longer applied and still exist. `before` are the entries
/// before the write, `live` is the object after it.
#[must_use]
pub fn co_owned(
    before: &[ManagedFieldsEntry],
    after: &[ManagedFieldsEntry],
    live: &Value,
) -> Vec<CoOwnedField> {
    let (Some(before), Some(now)) = (applied_fields(before), applied_fields(after)) else {
        return Vec::new();
    };
    let mut dropped = Vec::new();
    collect_dropped(before, Some(now), &mut Vec::new(), &mut dropped);
    let mut held: Vec<CoOwnedField> =
        dropped.iter().filter_map(|path| held_field(path, after, live)).collect();
    held.sort_by(|one, other| one.path.cmp(&other.path));
    held
}

/// The JSON patch that removes these fields from the object at this resourceVersion.
#[must_use]
pub fn removal(fields: &[CoOwnedField], resource_version: &str) -> Value {
    let mut pointers: Vec<&Vec<Segment>> = fields.iter().map(|field| &field.pointer).collect();
    // Removes list items from last to first, so that no removal shifts the next one.
    pointers.sort_by(|one, other| other.cmp(one));
    let test =
        serde_json::json!({"op": "test", "path": "/metadata/resourceVersion", "value": resource_version});
    let remove = pointers.into_iter().map(|pointer| {
        let path: Vec<String> = pointer.iter().map(Segment::escaped).collect();
        serde_json::json!({"op": "remove", "path": format!("/{}", path.join("/"))})
    });
    std::iter::once(test).chain(remove).collect()
}

impl Segment {
    fn escaped(&self) -> String {
        match self {
            Self::Index(index) => index.to_string(),
            Self::Key(key) => key.replace('~', "~0").replace('/', "~1"),
        }
    }
}

/// The field set of Elpio's server-side apply.
fn applied_fields(entries: &[ManagedFieldsEntry]) -> Option<&Value> {
    let applied = entries.iter().find(|entry| {
        entry.manager.as_deref() == Some(FIELD_MANAGER) && entry.operation.as_deref() == Some("Apply")
    });
    applied?.fields_v1.as_ref().map(|fields| &fields.0)
}

/// All other managers with their field sets; writes to a subresource belong to an engine.
fn others(entries: &[ManagedFieldsEntry]) -> impl Iterator<Item = (&str, &Value)> {
    entries.iter().filter_map(|entry| {
        let manager = entry.manager.as_deref()?;
        let of_object = entry.subresource.as_deref().unwrap_or_default().is_empty();
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0)?;
        (manager != FIELD_MANAGER && of_object).then_some((manager, fields))
    })
}

/// The members of a field set; `.` stands for the set itself.
fn members(set: &Value) -> impl Iterator<Item = (&String, &Value)> {
    set.as_object().into_iter().flat_map(Map::iter).filter(|(key, _)| *key != ".")
}

fn is_leaf(set: &Value) -> bool {
    members(set).next().is_none()
}

fn overlap(one: &Value, other: &Value) -> bool {
    members(one).any(|(key, inner)| {
        other.get(key).is_some_and(|outer| is_leaf(inner) || is_leaf(outer) || overlap(inner, outer))
    })
}

/// The fields of `before` that `now` lacks: single fields, and whole list items.
fn collect_dropped<'a>(
    before: &'a Value,
    now: Option<&Value>,
    path: &mut Vec<&'a str>,
    found: &mut Vec<Vec<&'a str>>,
) {
    for (key, inner) in members(before) {
        let kept = now.and_then(|now| now.get(key));
        path.push(key);
        if kept.is_none() && (is_leaf(inner) || !key.starts_with("f:")) {
            found.push(path.clone());
        } else {
            collect_dropped(inner, kept, path, found);
        }
        path.pop();
    }
}

fn held_field(path: &[&str], entries: &[ManagedFieldsEntry], live: &Value) -> Option<CoOwnedField> {
    let holds = |set: &Value| path.iter().try_fold(set, |set, key| set.get(*key)).is_some();
    let managers: Vec<String> =
        others(entries).filter(|(_, set)| holds(set)).map(|(manager, _)| manager.to_owned()).collect();
    if managers.is_empty() {
        return None;
    }
    let pointer = locate(path.iter().copied(), live)?;
    let mut text = String::new();
    for step in path {
        append(&mut text, step);
    }
    let steps = path.iter().map(|step| (*step).to_owned()).collect();
    Some(CoOwnedField { path: text, managers, pointer, steps })
}

/// The JSON pointer of a field in an object, if the object has it.
fn locate<'a>(path: impl Iterator<Item = &'a str>, object: &Value) -> Option<Vec<Segment>> {
    let (mut value, mut pointer) = (object, Vec::new());
    for step in path {
        let segment = resolve(step, value)?;
        value = match &segment {
            Segment::Key(key) => value.get(key)?,
            Segment::Index(index) => value.get(*index)?,
        };
        pointer.push(segment);
    }
    Some(pointer)
}

/// The key or index of a step in a field set (`f:name`, `k:{"name":"A"}`, `v:"x"`, `i:0`).
fn resolve(step: &str, value: &Value) -> Option<Segment> {
    let (kind, rest) = step.split_once(':')?;
    let position = |is: &dyn Fn(&Value) -> bool| value.as_array()?.iter().position(is).map(Segment::Index);
    match kind {
        "f" => Some(Segment::Key(rest.to_owned())),
        "i" => rest.parse().ok().map(Segment::Index),
        "v" => {
            let wanted: Value = serde_json::from_str(rest).ok()?;
            position(&|item| *item == wanted)
        }
        _ => {
            let keys: Map<String, Value> = serde_json::from_str(rest).ok()?;
            position(&|item| keys.iter().all(|(key, value)| item.get(key) == Some(value)))
        }
    }
}

/// Appends a step for display: `.image`, `[web]`.
fn append(text: &mut String, step: &str) {
    let (kind, rest) = step.split_once(':').unwrap_or(("", step));
    if kind == "f" {
        let dot = if text.is_empty() { "" } else { "." };
        *text = format!("{text}{dot}{rest}");
        return;
    }
    let keys: Option<Map<String, Value>> = serde_json::from_str(rest).ok();
    let first = keys.as_ref().and_then(|keys| keys.values().next());
    let name =
        first.map_or_else(|| rest.to_owned(), |v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
    *text = format!("{text}[{name}]");
}

#[cfg(test)]
#[path = "field_managers_test.rs"]
mod tests;
