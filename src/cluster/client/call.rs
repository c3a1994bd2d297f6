//! One call to the API server, and its failure: request, cause and class. It does not decide what happens
//! next.

use std::{future::Future, time::Duration};

use kube::core::Status;

use crate::{
    cluster::client::error_class::{cause_of, class_of},
    telemetry::{ErrorType, drop_as_timed_out, error_chain},
};

/// The timeout of a call. Longer than the API server's own for webhooks (10 s by default), so that its answer
/// still arrives, and shorter than the one for requests.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(12);

/// A request to the API server.
#[derive(Clone, Debug)]
pub struct ApiCall {
    /// The RBAC verb: `get`, `patch`, `create`, `delete`, `list`, `watch`.
    pub verb: &'static str,
    /// The plural, the group if there is one, and the subresource: `services.serving.knative.dev`.
    pub resource: String,
    /// The namespace; empty for all namespaces or a cluster-scoped resource.
    pub namespace: String,
    /// The object's name; empty for a list.
    pub name: String,
}

impl ApiCall {
    /// A request for one object, or for a list if the name is empty.
    pub fn new(
        verb: &'static str,
        resource: impl Into<String>,
        namespace: impl Into<String>,
        name: impl Into<String>,
    ) -> Self {
        Self { verb, resource: resource.into(), namespace: namespace.into(), name: name.into() }
    }
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
#[error("failed to {call}: {cause}")]
pub struct ApiError {
    /// The request.
    pub call: Box<ApiCall>,
    /// The API server's message, or why the request did not reach it.
    pub cause: String,
    /// The class of the failure.
    pub class: ErrorType,
    /// The API server's `Retry-After`.
    pub retry_after: Option<Duration>,
}

/// Runs one call, bounded by [`CALL_TIMEOUT`].
///
/// # Errors
/// [`ApiError`], classified.
pub async fn call_with_timeout<T>(
    call: ApiCall,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, ApiError> {
    let result = with_timeout(&call, request).await?;
    result.map_err(|error| classify(call, &error))
}

/// Like [`call_with_timeout`], for callers that read the API server's error themselves.
///
/// # Errors
/// [`ApiError`] if there is no response in time.
pub async fn with_timeout<T>(
    call: &ApiCall,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<kube::Result<T>, ApiError> {
    complete_within(CALL_TIMEOUT, request).await.ok_or_else(|| {
        let cause = format!("no response within {} s", CALL_TIMEOUT.as_secs());
        ApiError { call: Box::new(call.clone()), cause, class: ErrorType::Timeout, retry_after: None }
    })
}

/// Drops a request that takes longer than this; it then counts as `timeout`, not as `cancelled`.
pub async fn complete_within<T>(bound: Duration, request: impl Future<Output = T>) -> Option<T> {
    let mut request = Box::pin(request);
    let result = tokio::time::timeout(bound, &mut request).await.ok();
    if result.is_none() {
        drop_as_timed_out(request);
    }
    result
}

/// The pause that an error asks for.
#[must_use]
pub fn retry_after(status: &Status) -> Option<Duration> {
    let seconds = status.details.as_ref().map(|details| details.retry_after_seconds);
    seconds.filter(|seconds| *seconds > 0).map(|seconds| Duration::from_secs(seconds.into()))
}

/// Classifies a client error.
#[must_use]
pub fn classify(call: ApiCall, error: &kube::Error) -> ApiError {
    let call = Box::new(call);
    if let kube::Error::Api(status) = error {
        return ApiError {
            class: class_of(status),
            cause: cause_of(status),
            retry_after: retry_after(status),
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn api(code: u16, details: &serde_json::Value) -> ApiError {
        let status = serde_json::json!({"status": "Failure", "message": "no", "reason": "R", "code": code, "details": details});
        let call = ApiCall::new("patch", "deployments.apps", "ns", "web");
        classify(call, &kube::Error::Api(Box::new(serde_json::from_value(status).unwrap())))
    }

    #[test]
    fn the_message_names_verb_resource_namespace_and_cause() {
        assert_eq!(
            api(422, &serde_json::json!({})).to_string(),
            "failed to patch deployments.apps web in namespace ns: no"
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
