//! The JSON merge patch (RFC 7386) between two states: removed fields become null. Pure.

use serde_json::{Map, Value};

/// The patch that turns `old` into `new`.
#[must_use]
pub fn merge_patch(old: &Value, new: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return new.clone() };
    let removed = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = new.iter().filter(|(key, value)| old.get(*key) != Some(value));
    let changed = changed.map(|(key, value)| {
        (key.clone(), old.get(key).map_or_else(|| value.clone(), |old| merge_patch(old, value)))
    });
    Value::Object(removed.chain(changed).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::merge_patch;

    #[test]
    fn only_what_differs() {
        for (old, new, expected) in [
            (json!({}), json!({"a": 1}), json!({"a": 1})),
            (json!(null), json!({"a": 1}), json!({"a": 1})),
            (json!({"a": 1, "b": 2}), json!({"a": 1}), json!({"b": null})),
            (
                json!({"a": {"x": 1, "y": 2}}),
                json!({"a": {"x": 1, "z": 3}}),
                json!({"a": {"y": null, "z": 3}}),
            ),
            (json!({"a": [1, 2]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"a": 1}), json!({"a": 1}), json!({})),
        ] {
            assert_eq!(merge_patch(&old, &new), expected, "{old} → {new}");
        }
    }
}
