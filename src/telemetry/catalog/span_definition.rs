//! What a row of the span table is made of; it holds no row.

use crate::telemetry::catalog::definition::AllowedValues;

/// What an attribute's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// A string.
    Text,
    /// A whole number.
    Number,
}

/// An attribute of a span.
#[derive(Clone, Copy, Debug)]
pub struct SpanAttribute {
    /// Its key.
    pub key: &'static str,
    /// What its value is.
    pub value_type: ValueType,
    /// What it may hold.
    pub values: AllowedValues,
    /// When it is there; `None`: always.
    pub present_when: Option<&'static str>,
}

/// What a span may be a child of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// Nothing: it is a root.
    None,
    /// The span that a caller named on the object.
    Caller,
    /// A span of the row of this name.
    Of(&'static str),
}

/// The status of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanStatus {
    /// Not set.
    Unset,
    /// Set to ok.
    Ok,
    /// Set to error, with a description or without.
    Error,
}

/// One span.
#[derive(Clone, Copy, Debug)]
pub struct SpanDef {
    /// Its name; words in capitals stand for something.
    pub name: &'static str,
    /// What they stand for.
    pub placeholders: &'static [(&'static str, AllowedValues)],
    /// Its kind: `internal`, `client` or `server`.
    pub kind: &'static str,
    /// What it is, and when it is emitted.
    pub what: &'static str,
    /// What it may be a child of.
    pub parents: &'static [Parent],
    /// What it is linked to, and when.
    pub link: Option<&'static str>,
    /// Its attributes.
    pub attributes: &'static [SpanAttribute],
    /// The statuses that it may have, and when.
    pub statuses: &'static [(SpanStatus, &'static str)],
    /// When a log record `exception` belongs to it.
    pub exception: Option<&'static str>,
}

impl SpanDef {
    /// The name of a span of this row whose last place is taken by `what`.
    pub(in crate::telemetry) fn name_for(&self, what: &str) -> String {
        let fixed = self.name.rsplit_once(' ').map_or("", |(fixed, _)| fixed);
        format!("{fixed} {what}")
    }

    /// Whether a span of this name is of this row.
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
