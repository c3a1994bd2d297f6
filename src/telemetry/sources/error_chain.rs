//! An error and its causes as one line; it classifies nothing.

use std::error::Error;

use crate::api::redaction::redact;

/// An error and its causes, without duplicates and without secrets in URLs.
pub(crate) fn error_chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    redact(&text).into_owned()
}
