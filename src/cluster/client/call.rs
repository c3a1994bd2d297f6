//! One call to the API server that failed: which, on what, why, and of which class; it does not decide what
//! happens next.

use std::{future::Future, time::Duration};

use kube::core::Status;

use crate::telemetry::ErrorType;

/// No call takes longer. Above the API server's own limit for webhooks (10 s by default, so that its answer
/// is seen), below its limit for requests.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(12);

/// What was asked of the API server.
#[derive(Clone, Debug)]
pub struct ApiCall {
    /// `get`, `patch`, `create`, `delete`, `list`, `watch`: as in RBAC.
    pub verb: &'static str,
    /// `services.serving.knative.dev`: plural, and group where there is one; with subresource.
    pub resource: String,
    /// Its namespace; empty for all, or where it has none.
    pub namespace: String,
    /// Its name; empty for a list.
    pub name: String,
}

impl std::fmt::Display for ApiCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        if !self.namespace.is_empty() {
            write!(f, " in namespace {}", self.namespace)?;
        }
        Ok(())
    }
}

/// A call that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {call}: {cause}")]
pub struct ApiError {
    /// What was asked.
    pub call: Box<ApiCall>,
    /// The API server's words, or what happened on the way to it.
    pub cause: String,
    /// What sort of failure it is.
    pub class: ErrorType,
    /// When the API server asks to come again.
    pub retry_after: Option<Duration>,
}

/// Runs one call, bounded by [`CALL_TIMEOUT`].
///
/// # Errors
/// [`ApiError`], classed.
pub async fn call_with_timeout<T>(
    call: ApiCall,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, ApiError> {
    match tokio::time::timeout(CALL_TIMEOUT, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(classify(call, &error)),
        Err(_) => {
            let cause = format!("no answer within {} s", CALL_TIMEOUT.as_secs());
            Err(ApiError { call: Box::new(call), cause, class: ErrorType::Timeout, retry_after: None })
        }
    }
}

/// The failure that a client error stands for.
#[must_use]
pub fn classify(call: ApiCall, error: &kube::Error) -> ApiError {
    let call = Box::new(call);
    if let kube::Error::Api(status) = error {
        let retry_after = status.details.as_ref().map(|d| d.retry_after_seconds).filter(|s| *s > 0);
        return ApiError {
            class: class_of(status),
            cause: cause_of(status),
            retry_after: retry_after.map(|s| Duration::from_secs(s.into())),
            call,
        };
    }
    let class = match error {
        kube::Error::SerdeError(_) | kube::Error::BuildRequest(_) | kube::Error::InferConfig(_) => {
            ErrorType::Internal
        }
        _ => ErrorType::Unavailable,
    };
    ApiError { call, cause: error_chain(error), class, retry_after: None }
}

/// An error with its sources, each said once.
pub(in crate::cluster) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let said = source.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = source.source();
    }
    text
}

fn cause_of(status: &Status) -> String {
    if status.message.is_empty() {
        format!("HTTP {} {}", status.code, status.reason)
    } else {
        status.message.clone()
    }
}

fn class_of(status: &Status) -> ErrorType {
    let terminating =
        status.details.as_ref().is_some_and(|d| d.causes.iter().any(|c| c.reason == "NamespaceTerminating"));
    match status.code {
        // Nothing can be created in a namespace that is being deleted. It is no lack of permission, and it
        // ends by itself.
        403 if terminating => ErrorType::Rejected,
        403 => ErrorType::Forbidden,
        404 => ErrorType::NotFound,
        408 | 504 => ErrorType::Timeout,
        409 => ErrorType::Conflict,
        429 => ErrorType::Throttled,
        400..=499 => ErrorType::Rejected,
        500..=599 => ErrorType::Unavailable,
        _ => ErrorType::Internal,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn api(code: u16, details: &serde_json::Value) -> ApiError {
        let status = serde_json::json!({"status": "Failure", "message": "no", "reason": "R", "code": code, "details": details});
        let call = ApiCall {
            verb: "patch",
            resource: "deployments.apps".into(),
            namespace: "ns".into(),
            name: "web".into(),
        };
        classify(call, &kube::Error::Api(Box::new(serde_json::from_value(status).unwrap())))
    }

    #[test]
    fn every_code_has_its_class() {
        for (code, class) in [
            (400, ErrorType::Rejected),
            (401, ErrorType::Rejected),
            (403, ErrorType::Forbidden),
            (404, ErrorType::NotFound),
            (408, ErrorType::Timeout),
            (409, ErrorType::Conflict),
            (413, ErrorType::Rejected),
            (422, ErrorType::Rejected),
            (429, ErrorType::Throttled),
            (500, ErrorType::Unavailable),
            (503, ErrorType::Unavailable),
            (504, ErrorType::Timeout),
        ] {
            assert_eq!(api(code, &serde_json::json!({})).class, class, "{code}");
        }
    }

    #[test]
    fn a_namespace_that_ends_is_no_lack_of_permission() {
        let details =
            serde_json::json!({"causes": [{"reason": "NamespaceTerminating", "message": "", "field": ""}]});
        assert_eq!(api(403, &details).class, ErrorType::Rejected);
    }

    #[test]
    fn the_message_names_verb_resource_namespace_and_cause() {
        assert_eq!(
            api(403, &serde_json::json!({})).to_string(),
            "cannot patch deployments.apps web in namespace ns: no"
        );
    }

    #[test]
    fn retry_after_is_kept() {
        assert_eq!(
            api(429, &serde_json::json!({"retryAfterSeconds": 7})).retry_after,
            Some(Duration::from_secs(7))
        );
        assert_eq!(api(429, &serde_json::json!({})).retry_after, None);
    }
}
