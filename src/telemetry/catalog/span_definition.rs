//! The types of the span table's rows; no rows.

use crate::telemetry::catalog::definition::AllowedValues;

/// The type of an attribute's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// A string.
    Text,
    /// An integer.
    Number,
}

/// An attribute of a span.
#[derive(Clone, Copy, Debug)]
pub struct SpanAttribute {
    /// The key.
    pub key: &'static str,
    /// The type of the value.
    pub value_type: ValueType,
    /// The allowed values.
    pub values: AllowedValues,
    /// When it is present; `None`: always.
    pub present_when: Option<&'static str>,
}

/// The parent of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// None: it is a root span.
    None,
    /// The caller's span from the object's annotation.
    Caller,
    /// The span with this name in the table.
    Of(&'static str),
}

/// The status of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanStatus {
    /// Unset.
    Unset,
    /// Ok.
    Ok,
    /// Error, with or without a description.
    Error,
}

/// One span.
#[derive(Clone, Copy, Debug)]
pub struct SpanDef {
    /// The name; words in capitals are placeholders.
    pub name: &'static str,
    /// What the placeholders stand for.
    pub placeholders: &'static [(&'static str, AllowedValues)],
    /// The span kind: `internal`, `client` or `server`.
    pub kind: &'static str,
    /// What it represents, and when it is emitted.
    pub what: &'static str,
    /// The possible parents.
    pub parents: &'static [Parent],
    /// Its links, and when it has them.
    pub link: Option<&'static str>,
    /// Its attributes.
    pub attributes: &'static [SpanAttribute],
    /// The possible statuses, and when they are set.
    pub statuses: &'static [(SpanStatus, &'static str)],
    /// When it has a log record `exception`.
    pub exception: Option<&'static str>,
}

impl SpanDef {
    /// The span's name with `what` for the last placeholder.
    pub(in crate::telemetry) fn name_for(&self, what: &str) -> String {
        let fixed = self.name.rsplit_once(' ').map_or("", |(fixed, _)| fixed);
        format!("{fixed} {what}")
    }

    /// Whether this row defines a span with this name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let words: Vec<&str> = self.name.split(' ').collect();
        let given: Vec<&str> = name.splitn(words.len(), ' ').collect();
        let fits = |(word, given): (&&str, &&str)| match self
            .placeholders
            .iter()
            .find(|(location, _)| location == word)
        {
            Some((_, values)) => values.allow(given),
            None => word == given,
        };
        words.len() == given.len() && words.iter().zip(&given).all(fits)
    }
}
