//! CEL rules for the schema: each says what is wrong in words that name the field.

use serde_json::{Value, json};

/// A rule on the value that it stands at.
pub(super) fn rule(cel: &str, message: &str) -> Value {
    json!({ "rule": cel, "message": message })
}

/// A rule whose failure is reported at a field below, as `.host`.
pub(super) fn rule_at(field_path: &str, cel: &str, message: &str) -> Value {
    json!({ "rule": cel, "message": message, "fieldPath": field_path })
}
