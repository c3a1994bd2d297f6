//! Classifies an error response: must the cluster's administrator act, or the object's owner? Pure; decides
//! no retry.

use kube::core::Status;

use crate::{
    api::{condition::reason, redaction::redact},
    telemetry::ErrorType,
};

/// The reason that kube sets if the body is not a `Status`: a proxy in between answered.
const NO_STATUS: &str = "Failed to parse error data";

/// The class of an error response from the API server.
#[must_use]
pub fn class_of(status: &Status) -> ErrorType {
    match status.code {
        401 if !is_denied_by_admission(status) => ErrorType::Forbidden,
        403 if is_denied_by_authorizer(status) => ErrorType::Forbidden,
        404 => ErrorType::NotFound,
        408 | 504 => ErrorType::Timeout,
        409 => ErrorType::Conflict,
        429 => ErrorType::Throttled,
        400..=499 => ErrorType::Rejected,
        500..=599 => ErrorType::Unavailable,
        _ => ErrorType::Internal,
    }
}

/// The short cause of an error response. Servers and webhooks may echo values.
#[must_use]
pub fn cause_of(status: &Status) -> String {
    match status.code {
        401 if !is_denied_by_admission(status) => {
            "unauthorized: the API server rejects the operator's credentials".to_owned()
        }
        _ if status.message.is_empty() => {
            format!("HTTP {} {}", status.code, status.reason).trim_end().to_owned()
        }
        _ => redact(&status.message).into_owned(),
    }
}

/// Whether the namespace is being deleted or does not exist: nothing can be created in it, and no retry helps.
#[must_use]
pub fn is_namespace_gone(status: &Status) -> bool {
    let Some(details) = &status.details else { return false };
    match status.code {
        403 => details.causes.iter().any(|cause| cause.reason == "NamespaceTerminating"),
        404 => details.kind == "namespaces" && details.group.is_empty(),
        _ => false,
    }
}

/// Whether the body of a 401 rejects the credentials; admission may also answer 401.
#[must_use]
pub fn is_unauthorized(body: &[u8]) -> bool {
    serde_json::from_slice::<Status>(body).map_or(true, |status| !is_denied_by_admission(&status))
}

/// Whether a permission is missing. Admission answers 403 too (quota, limits, policies, webhooks), and only
/// the text distinguishes them: `RESOURCE "NAME" is forbidden: User "USER" cannot VERB resource ...`. None of
/// this text comes from the object, so no webhook's message can imitate it.
fn is_denied_by_authorizer(status: &Status) -> bool {
    if status.reason == NO_STATUS {
        return true;
    }
    let Some((head, reason)) = status.message.split_once("forbidden: ") else { return false };
    let by_api_server = head.is_empty()
        || head.strip_suffix(" is ").is_some_and(|subject| {
            let (resource, name) = subject.split_once(' ').unwrap_or((subject, "\"\""));
            !resource.is_empty() && name.len() >= 2 && name.starts_with('"') && name.ends_with('"')
        });
    by_api_server && reason.starts_with("User \"") && reason.contains("\" cannot ")
}

/// Whether only the object's author or the namespace's owner can fix what a condition with this reason and
/// message reports. This includes a child that admission denies (a quota, a limit, a policy, a webhook).
#[must_use]
pub fn is_of_author(reason: &str, message: &str) -> bool {
    let is_denied = message.contains("\" denied the request")
        || (message.contains(" is forbidden: ") && !message.contains(" is forbidden: cannot set "));
    reason::AUTHOR_ERRORS.contains(&reason) || (reason == reason::APPLY_FAILED && is_denied)
}

/// Whether a webhook or a policy sent the 401, as either may choose that code. The API server's own 401 has
/// no details.
fn is_denied_by_admission(status: &Status) -> bool {
    status.message.starts_with("admission webhook \"")
        || status.details.as_ref().is_some_and(|details| !details.kind.is_empty())
}

#[cfg(test)]
#[path = "error_class_test.rs"]
mod tests;
