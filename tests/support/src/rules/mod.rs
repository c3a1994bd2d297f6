//! The table of rules: for each rule of our kinds one object that breaks it, and one that stands at its
//! bound.
//!
//! `tests/pure/validate.rs` gives it to the operator's own check; a test with a real API server gives it to the
//! schema. So the two can never say different things without a test that fails.

#![allow(clippy::too_many_lines, reason = "tables")]

mod container;
mod env;
mod function;
mod network;

use serde_json::{Value, json};

/// One object and what is said of it.
pub struct Case {
    /// What it shows.
    pub what: &'static str,
    /// The whole object.
    pub object: Value,
    /// The operator's default engine.
    pub engine: &'static str,
    /// The fault that the operator names, as `path: message`; `None` when the object is good.
    pub fault: Option<&'static str>,
    /// A part of the API server's message; `None` when it takes the object.
    pub refused: Option<&'static str>,
}

impl Case {
    /// An object that both take.
    fn good(what: &'static str, object: Value) -> Self {
        Self { what, object, engine: "knative", fault: None, refused: None }
    }

    /// An object that both refuse, the schema with `refused`.
    fn bad(what: &'static str, object: Value, fault: &'static str, refused: &'static str) -> Self {
        Self { what, object, engine: "knative", fault: Some(fault), refused: Some(refused) }
    }
}

/// An object of this kind whose spec is `smallest` with these fields over it.
fn object_of(kind: &str, name: &str, mut smallest: Value, fields: Value) -> Value {
    let (Value::Object(spec), Value::Object(fields)) = (&mut smallest, fields) else {
        unreachable!("a spec and its fields are maps")
    };
    spec.extend(fields);
    json!({"apiVersion": "elpio.io/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": "default"}, "spec": smallest})
}

/// A service.
fn object(name: &str, fields: Value) -> Value {
    object_of("ElpioService", name, json!({"image": {"repository": "example.com/app"}}), fields)
}

fn good(what: &'static str, fields: Value) -> Case {
    Case::good(what, object("app", fields))
}

/// Refused by both, the schema with `refused`.
fn bad(what: &'static str, fields: Value, fault: &'static str, refused: &'static str) -> Case {
    Case::bad(what, object("app", fields), fault, refused)
}

/// Refused by the operator alone, since only it knows its default engine.
fn operator(what: &'static str, engine: &'static str, fields: Value, fault: &'static str) -> Case {
    Case { what, object: object("app", fields), engine, fault: Some(fault), refused: None }
}

/// `count` items, each made from its number.
fn many(count: usize, item: impl Fn(usize) -> Value) -> Value {
    (0..count).map(item).collect()
}

/// Every case.
#[must_use]
pub fn cases() -> Vec<Case> {
    [
        names(),
        container::image(),
        container::container(),
        env::env(),
        env::env_from(),
        env::secrets(),
        container::resources(),
        container::probe(),
        network::scaling(),
        network::ingress(),
        network::traffic(),
        function::names(),
        function::source(),
        function::build(),
        function::shared(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn names() -> Vec<Case> {
    let named = |what, name: &str, good: bool| Case {
        what,
        object: object(name, json!({})),
        engine: "knative",
        fault: (!good).then_some("metadata.name: must be a DNS-1035 label of at most 63 characters"),
        refused: (!good).then_some("metadata.name must be a DNS-1035 label of at most 63 characters"),
    };
    vec![
        named("a name of 63 characters", &"a".repeat(63), true),
        named("a name of 64 characters", &"a".repeat(64), false),
        named("a name with a dot", "a.b", false),
        named("a name that begins with a digit", "1a", false),
        named("a name of one letter", "a", true),
    ]
}
