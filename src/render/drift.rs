//! Whether the live object still means what was applied, although others add defaults and normalize values.
//! Pure.

use std::collections::BTreeMap;

use kube::core::{DynamicObject, ObjectMeta};
use serde_json::{Map, Value, json};

use crate::{
    api::annotation,
    render::{Child, duration, quantity::Quantity},
};

/// Keys that identify a list's items: the first one that all applied items have.
const ITEM_KEYS: [&str; 3] = ["name", "containerPort", "port"];

/// A field that differs from the applied one.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The field's path: `spec.template.spec.containers[web].image`.
    pub path: String,
    /// The live value.
    pub live: Value,
}

/// The fields of a live child that differ from the applied ones, including the annotation with the hash.
///
/// Fields added by others do not differ. A zero value (`""`, `0`, `false`, null, `[]`, `{}`) equals an absent
/// one. Quantities under `resources` and the refresh interval of an `ExternalSecret` compare by value. Order
/// matters where Kubernetes gives it a meaning: `$(NAME)` sees only earlier variables. The object's own
/// `apiVersion` and `kind` are skipped, because lists of built-in kinds omit them. Unhashed annotations
/// (trace context) are skipped.
#[must_use]
pub fn differences(sent: &Child, live: &DynamicObject) -> Vec<Difference> {
    let ObjectMeta { name, namespace, labels, annotations, owner_references, .. } = &live.metadata;
    let no_annotations = BTreeMap::new();
    // Elpio applies no other metadata. The store drops an empty map of annotations, but each annotation is
    // still reported by its key.
    let metadata = json!({
        "name": name,
        "namespace": namespace,
        "labels": labels,
        "annotations": annotations.as_ref().unwrap_or(&no_annotations),
        "ownerReferences": owner_references,
    });
    let live = |field: &str| if field == "metadata" { Some(&metadata) } else { live.data.get(field) };
    let mut found = field_differences(sent.body(), live);
    let applied = &metadata["annotations"][annotation::APPLIED];
    if applied != sent.hash() {
        let path = format!("metadata.annotations[{}]", annotation::APPLIED);
        found.push(Difference { path, live: applied.clone() });
    }
    found
}

/// Compares an object's fields with the live ones of the same name.
fn field_differences<'a>(sent: &Value, live: impl Fn(&str) -> Option<&'a Value>) -> Vec<Difference> {
    let mut found = Vec::new();
    let fields = sent.as_object().into_iter().flatten();
    for (field, sent) in fields.filter(|(field, _)| !matches!(field.as_str(), "apiVersion" | "kind")) {
        let (context, path) = (ValueContext::Anywhere.below(field), Path::Field(&Path::Root, field));
        compare(sent, live(field).unwrap_or(&Value::Null), context, &path, &mut found);
    }
    found
}

/// How to compare a value, depending on its position.
#[derive(Clone, Copy, Eq, PartialEq)]
enum ValueContext {
    Anywhere,
    /// A list whose order matters.
    Ordered,
    /// The value of `resources`.
    Resources,
    /// A map of quantities: `resources.requests`, `resources.limits`.
    Amounts,
    /// One quantity.
    Amount,
    /// A Go duration.
    Interval,
}

impl ValueContext {
    fn below(self, key: &str) -> Self {
        match (self, key) {
            (Self::Amounts, _) => Self::Amount,
            (Self::Resources, "requests" | "limits") => Self::Amounts,
            (Self::Anywhere, "resources") => Self::Resources,
            (Self::Anywhere, "refreshInterval") => Self::Interval,
            (Self::Anywhere, "env" | "initContainers") => Self::Ordered,
            _ => Self::Anywhere,
        }
    }
}

/// The path of a value, formatted only if there is a difference.
enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, &'a Value),
}

impl std::fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            // Keys of labels and annotations may contain dots.
            Self::Field(parent, name) if name.contains(['.', '/']) => write!(f, "{parent}[{name}]"),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, Value::String(name)) => write!(f, "{parent}[{name}]"),
            Self::Item(parent, key) => write!(f, "{parent}[{key}]"),
        }
    }
}

fn compare(sent: &Value, live: &Value, context: ValueContext, path: &Path<'_>, found: &mut Vec<Difference>) {
    match (sent, live) {
        (Value::Object(sent), Value::Object(live)) => compare_maps(sent, live, context, path, found),
        (Value::Array(sent), Value::Array(live)) => compare_lists(sent, live, context, path, found),
        _ if equal_values(sent, live, context) => {}
        _ => found.push(Difference { path: path.to_string(), live: live.clone() }),
    }
}

fn equal_values(sent: &Value, live: &Value, context: ValueContext) -> bool {
    match (sent, live) {
        _ if is_zero(sent) && is_zero(live) => true,
        _ if context == ValueContext::Amount => {
            equal_parsed(sent, live, |text| Quantity::parse(text).map(Quantity::in_millis))
        }
        _ if context == ValueContext::Interval => equal_parsed(sent, live, duration::parse),
        (Value::Number(sent), Value::Number(live)) => sent == live || sent.as_f64() == live.as_f64(),
        _ => sent == live,
    }
}

fn compare_maps(
    sent: &Map<String, Value>,
    live: &Map<String, Value>,
    context: ValueContext,
    path: &Path<'_>,
    found: &mut Vec<Difference>,
) {
    for (key, sent) in sent {
        let live = live.get(key).unwrap_or(&Value::Null);
        compare(sent, live, context.below(key), &Path::Field(path, key), found);
    }
}

/// Finds items by their key, if they have one; compares others in order, without allowing more of them.
fn compare_lists(
    sent: &[Value],
    live: &[Value],
    context: ValueContext,
    path: &Path<'_>,
    found: &mut Vec<Difference>,
) {
    let key = ITEM_KEYS
        .into_iter()
        .find(|key| !sent.is_empty() && sent.iter().all(|item| item.get(*key).is_some()));
    let Some(key) = key else {
        let same = |(sent, live): (&Value, &Value)| {
            let mut inner = Vec::new();
            compare(sent, live, ValueContext::Anywhere, path, &mut inner);
            inner.is_empty()
        };
        if sent.len() != live.len() || !sent.iter().zip(live).all(same) {
            found.push(Difference { path: path.to_string(), live: live.to_vec().into() });
        }
        return;
    };
    for sent in sent {
        compare_item(sent, live, key, path, found);
    }
    if context == ValueContext::Ordered && !is_in_order(sent, live, key) {
        let names: Vec<Value> = live.iter().filter_map(|item| item.get(key)).cloned().collect();
        found.push(Difference { path: format!("the order of {path}"), live: names.into() });
    }
}

/// Compares an item with the most similar live item of the same key: ports with one number may differ by protocol.
fn compare_item(sent: &Value, live: &[Value], key: &str, path: &Path<'_>, found: &mut Vec<Difference>) {
    let name = sent.get(key).unwrap_or(&Value::Null);
    let path = Path::Item(path, name);
    let same_key = live.iter().filter(|item| item.get(key) == Some(name));
    let candidates = same_key.map(|item| {
        let mut inner = Vec::new();
        compare(sent, item, ValueContext::Anywhere, &path, &mut inner);
        inner
    });
    match candidates.min_by_key(Vec::len) {
        Some(inner) => found.extend(inner),
        None => found.push(Difference { path: path.to_string(), live: Value::Null }),
    }
}

/// Whether the applied items that exist appear in their order, each once; others may be in between.
fn is_in_order(sent: &[Value], live: &[Value], key: &str) -> bool {
    let names = |items: &[Value], among: &[Value]| -> Vec<Value> {
        let has = |name: &Value| among.iter().any(|item| item.get(key) == Some(name));
        items.iter().filter_map(|item| item.get(key)).filter(|name| has(name)).cloned().collect()
    };
    names(sent, live) == names(live, sent)
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// Whether both values mean the same; unreadable ones must be identical.
fn equal_parsed<T: PartialEq>(sent: &Value, live: &Value, read: impl Fn(&str) -> Option<T>) -> bool {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match (read(&text(sent)), read(&text(live))) {
        (Some(sent), Some(live)) => sent == live,
        _ => sent == live,
    }
}

#[cfg(test)]
#[path = "drift_test.rs"]
mod tests;
