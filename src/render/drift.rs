//! Whether what was sent is still there in meaning. Pure.

use serde_json::Value;

/// Whether every field that was sent is still there in the live object, in meaning.
#[must_use]
pub fn satisfied(sent: &Value, live: &Value) -> bool {
    sent == live
}
