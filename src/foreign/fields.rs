//! Reads fields of JSON objects by JSON pointer, such as `/status/url`. A field of another type counts as absent. Pure.

use jiff::Timestamp;
use serde_json::Value;

/// The string at a pointer; empty if there is none.
#[must_use]
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The string at a pointer, unless it is absent or empty.
#[must_use]
pub fn non_empty_text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    Some(text(object, pointer)).filter(|text| !text.is_empty())
}

/// The integer at a pointer.
#[must_use]
pub fn integer(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer)?.as_i64()
}

/// The RFC 3339 time at a pointer.
#[must_use]
pub fn time(object: &Value, pointer: &str) -> Option<Timestamp> {
    text(object, pointer).parse().ok()
}

/// The items of the list at a pointer; none if there is no list.
pub fn list<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// The value of the item with this name, in a list such as Tekton's results and params.
#[must_use]
pub fn named_value<'a>(object: &'a Value, pointer: &str, name: &str) -> Option<&'a str> {
    list(object, pointer).find(|item| item["name"] == name)?["value"].as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_of_another_type_counts_as_absent() {
        let object = json!({
            "text": "a", "empty": "", "number": 3, "at": "2026-01-02T03:04:05Z",
            "results": [{"name": "image", "value": "b"}, {"name": "count", "value": 1}],
        });
        assert_eq!(["/text", "/empty", "/number", "/absent"].map(|at| text(&object, at)), ["a", "", "", ""]);
        let texts = ["/text", "/empty", "/number"].map(|at| non_empty_text(&object, at));
        assert_eq!(texts, [Some("a"), None, None]);
        assert_eq!(["/number", "/text"].map(|at| integer(&object, at)), [Some(3), None]);
        assert_eq!(["/at", "/text"].map(|at| time(&object, at).is_some()), [true, false]);
        assert_eq!(["/results", "/text"].map(|at| list(&object, at).count()), [2, 0]);
        let values = ["image", "count", "absent"].map(|name| named_value(&object, "/results", name));
        assert_eq!(values, [Some("b"), None, None]);
    }
}
