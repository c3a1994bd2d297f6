//! Whether what was sent is still there in meaning, though others add defaults and write values in their own
//! way. Pure.

use serde_json::{Map, Value};

use crate::render::{duration, quantity::Quantity};

/// Keys by which an item of a list is known, the first that all items sent have.
const ITEM_KEYS: [&str; 3] = ["name", "containerPort", "port"];

/// Whether every field that was sent is still there in the live object.
///
/// What others added is no difference. A zero value (`""`, `0`, `false`, null, `[]`, `{}`) is the same as an
/// absent one. Amounts under
/// `resources` and the refresh interval of an `ExternalSecret` are compared by value.
#[must_use]
pub fn is_satisfied_by(sent: &Value, live: &Value) -> bool {
    matches(sent, live, ValueContext::Anywhere)
}

/// Where a value stands, as far as its meaning depends on it.
#[derive(Clone, Copy, Eq, PartialEq)]
enum ValueContext {
    Anywhere,
    /// The value of `resources`.
    Resources,
    /// A map of amounts: `resources.requests`, `resources.limits`.
    Amounts,
    /// One amount.
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
            _ => Self::Anywhere,
        }
    }
}

fn matches(sent: &Value, live: &Value, place: ValueContext) -> bool {
    match (sent, live) {
        (Value::Object(sent), Value::Object(live)) => map_matches(sent, live, place),
        (Value::Array(sent), Value::Array(live)) => list_matches(sent, live),
        _ if is_zero(sent) && is_zero(live) => true,
        _ if place == ValueContext::Amount => {
            equal_parsed(sent, live, |text| Quantity::parse(text).map(Quantity::in_millis))
        }
        _ if place == ValueContext::Interval => equal_parsed(sent, live, duration::parse),
        (Value::Number(sent), Value::Number(live)) => sent == live || sent.as_f64() == live.as_f64(),
        _ => sent == live,
    }
}

fn map_matches(sent: &Map<String, Value>, live: &Map<String, Value>, place: ValueContext) -> bool {
    sent.iter().all(|(key, sent)| matches(sent, live.get(key).unwrap_or(&Value::Null), place.below(key)))
}

/// Items with a key are looked for; others stand where they were sent, and no more of them.
fn list_matches(sent: &[Value], live: &[Value]) -> bool {
    let key = ITEM_KEYS
        .into_iter()
        .find(|key| !sent.is_empty() && sent.iter().all(|item| item.get(*key).is_some()));
    let here = |sent: &Value, live: &Value| matches(sent, live, ValueContext::Anywhere);
    match key {
        Some(key) => sent
            .iter()
            .all(|item| live.iter().any(|found| found.get(key) == item.get(key) && here(item, found))),
        None => sent.len() == live.len() && sent.iter().zip(live).all(|(sent, live)| here(sent, live)),
    }
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

/// Whether both mean the same; what cannot be read must be equal to the letter.
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
