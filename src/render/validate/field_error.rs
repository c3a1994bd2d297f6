//! The errors in a spec: field paths and messages, all collected rather than only the first. Pure.

use std::fmt;

use crate::{api::redaction::redact, render::formats};

/// One error in a spec.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldError {
    /// The field, such as `spec.env[2].name`.
    pub path: String,
    /// The error.
    pub message: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// The errors found so far.
#[derive(Debug, Default)]
pub(crate) struct FieldErrors(Vec<FieldError>);

impl FieldErrors {
    /// Adds an error. Redacts its message, which may repeat a value and reaches many readers.
    pub(crate) fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        let message = redact(&message.into()).into_owned();
        self.0.push(FieldError { path: path.into(), message });
    }

    /// Adds an error unless `holds`; returns `holds`.
    pub(crate) fn check(&mut self, holds: bool, path: &str, message: impl FnOnce() -> String) -> bool {
        if !holds {
            self.add(path, message());
        }
        holds
    }

    /// Checks that a number is within bounds.
    pub(crate) fn range(&mut self, path: &str, number: i32, min: i32, max: i32) {
        self.check((min..=max).contains(&number), path, || {
            if max == i32::MAX {
                format!("must be at least {min}, not {number}")
            } else {
                format!("must be {min} to {max}, not {number}")
            }
        });
    }

    /// Checks the name of an object; `None` is valid.
    pub(crate) fn object_name<'a>(&mut self, path: &str, name: impl Into<Option<&'a str>>) {
        self.check(name.into().is_none_or(formats::is_dns_1123_subdomain), path, || {
            "must be a lower-case DNS name of at most 253 characters".to_owned()
        });
    }

    /// Checks a label of the DNS; `None` is valid.
    pub(crate) fn dns_label<'a>(&mut self, path: &str, name: impl Into<Option<&'a str>>, max: usize) {
        self.check(name.into().is_none_or(|name| formats::is_dns_1035_label(name, max)), path, || {
            format!("must be a DNS-1035 label of at most {max} characters")
        });
    }

    /// Checks a key of a Secret or a `ConfigMap`.
    pub(crate) fn data_key(&mut self, path: &str, key: &str) {
        self.check(formats::is_data_key(key), path, || {
            "must be 1 to 253 letters, digits, dashes, underscores and dots".to_owned()
        });
    }

    /// Checks the length of a list.
    pub(crate) fn at_most(&mut self, path: &str, length: usize, max: usize) {
        self.check(length <= max, path, || format!("must have at most {max} items, not {length}"));
    }

    /// Checks that every name in a list is unique.
    pub(crate) fn unique<'a>(
        &mut self,
        list: &str,
        field: &str,
        names: impl IntoIterator<Item = Option<&'a str>>,
    ) {
        let mut seen = std::collections::BTreeMap::new();
        for (index, name) in names.into_iter().enumerate() {
            let Some(name) = name else { continue };
            if let Some(first) = seen.get(name) {
                self.add(
                    format!("{list}[{index}].{field}"),
                    format!("{name:?} is already in {list}[{first}]"),
                );
            } else {
                seen.insert(name, index);
            }
        }
    }

    /// `Err` with all errors, if any.
    pub(crate) fn into_result(self) -> Result<(), Vec<FieldError>> {
        if self.0.is_empty() { Ok(()) } else { Err(self.0) }
    }
}
