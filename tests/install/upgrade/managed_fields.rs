//! What a field manager owns of an object: what it sent, as far as nobody took it over. Pure.

use serde_json::{Map, Value};

/// The part of the object that its `managedFields` give to this manager, with the object's identity.
pub fn owned(object: &Value, manager: &str) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let entry = entries
        .filter(|entry| entry["manager"] == manager && entry["subresource"].is_null())
        .find(|entry| entry["operation"] == "Apply");
    let mut part = entry.map_or(Value::Null, |entry| select(object, &entry["fieldsV1"]));
    if let Some(part) = part.as_object_mut() {
        part.insert("apiVersion".to_owned(), object["apiVersion"].clone());
        part.insert("kind".to_owned(), object["kind"].clone());
    }
    for name in ["name", "namespace"] {
        if !part.is_null() {
            part["metadata"][name] = object["metadata"][name].clone();
        }
    }
    part
}

fn select(value: &Value, fields: &Value) -> Value {
    let children: Vec<(&String, &Value)> =
        fields.as_object().into_iter().flatten().filter(|(name, _)| *name != ".").collect();
    if children.is_empty() {
        return value.clone();
    }
    if let Some(items) = value.as_array() {
        let matching = children.iter().filter_map(|(name, inner)| {
            let item = items.iter().find(|item| is_item(item, name))?;
            Some(select(item, inner))
        });
        return Value::Array(matching.collect());
    }
    let parts = children.iter().filter_map(|(name, inner)| {
        let name = name.strip_prefix("f:")?;
        Some((name.to_owned(), select(value.get(name)?, inner)))
    });
    Value::Object(parts.collect::<Map<_, _>>())
}

/// `k:{"name":"a"}`, `v:"a"`.
fn is_item(item: &Value, name: &str) -> bool {
    let (sort, text) = name.split_at(2);
    let wanted: Value = serde_json::from_str(text).unwrap();
    match (sort, wanted.as_object()) {
        ("k:", Some(keys)) => keys.iter().all(|(key, value)| item[key] == *value),
        _ => *item == wanted,
    }
}

#[test]
fn what_a_manager_owns_is_what_it_sent() {
    let object = serde_json::json!({
        "apiVersion": "v1", "kind": "X",
        "metadata": {"name": "a", "namespace": "n", "labels": {"mine": "1", "other": "2"}, "managedFields": [
            {"manager": "elpio", "operation": "Apply", "fieldsV1": {
                "f:metadata": {"f:labels": {"f:mine": {}}},
                "f:spec": {"f:list": {"k:{\"name\":\"b\"}": {".": {}, "f:value": {}, "f:name": {}}}, "f:map": {}}}},
        ]},
        "spec": {"list": [{"name": "b", "value": 1, "more": 2}, {"name": "c"}], "map": {"x": 1}, "rest": 1},
    });
    let expected = serde_json::json!({
        "metadata": {"labels": {"mine": "1"}, "name": "a", "namespace": "n"},
        "spec": {"list": [{"value": 1, "name": "b"}], "map": {"x": 1}},
        "apiVersion": "v1", "kind": "X",
    });
    assert_eq!(owned(&object, "elpio"), expected);
    assert!(owned(&object, "kubectl").is_null());
}
