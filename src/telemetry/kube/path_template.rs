//! Templates of Kubernetes API paths: what a request is about without the names in it; it knows the shape of
//! paths, not the kinds.

use crate::telemetry::sources::watch_activity;

/// What a path says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::telemetry) struct ApiPath {
    /// The path with names as placeholders: `url.template` of the semantic conventions.
    pub(in crate::telemetry) template: String,
    /// The resource, when it is one of the table's.
    pub(in crate::telemetry) resource: Option<&'static str>,
}

/// Paths outside the API groups that are kept as they are.
const NON_RESOURCE_PATHS: &[&str] = &[
    "/",
    "/version",
    "/api",
    "/apis",
    "/healthz",
    "/livez",
    "/readyz",
    "/metrics",
    "/openapi/v2",
    "/openapi/v3",
];

/// Parts of a namespace object itself, which look like resources in a namespace.
const NAMESPACE_SUBRESOURCES: &[&str] = &["status", "finalize"];

/// The target of a path (Kubernetes API concepts, resource URIs).
pub(in crate::telemetry) fn parse(path: &str) -> ApiPath {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let (group, prefix, rest) = match segments.as_slice() {
        ["api", version, rest @ ..] => ("", format!("/api/{version}"), rest),
        ["apis", group, version, rest @ ..] => (*group, format!("/apis/{group}/{version}"), rest),
        ["apis", group] => return ApiPath { template: format!("/apis/{group}"), resource: None },
        _ => return other(path),
    };
    let (suffix, plural) = match rest {
        [] => (String::new(), None),
        ["namespaces", _, part] if group.is_empty() && NAMESPACE_SUBRESOURCES.contains(part) => {
            (format!("/namespaces/{{name}}/{part}"), None)
        }
        ["namespaces", _, plural, rest @ ..] => {
            (format!("/namespaces/{{namespace}}/{plural}{}", name_template(rest)), Some(*plural))
        }
        [plural, rest @ ..] => (format!("/{plural}{}", name_template(rest)), Some(*plural)),
    };
    ApiPath {
        template: prefix + &suffix,
        resource: plural.and_then(|plural| watch_activity::resource(group, plural)),
    }
}

/// A name and, kept as it is, a subresource; what follows it (as behind `proxy`) is the user's own.
fn name_template(rest: &[&str]) -> String {
    match rest {
        [] => String::new(),
        [_] => "/{name}".to_owned(),
        [_, subresource] => format!("/{{name}}/{subresource}"),
        [_, subresource, ..] => format!("/{{name}}/{subresource}/{{path}}"),
    }
}

fn other(path: &str) -> ApiPath {
    let template = if NON_RESOURCE_PATHS.contains(&path) { path.to_owned() } else { "/{path}".to_owned() };
    ApiPath { template, resource: None }
}

/// Whether a request opens a watch.
pub(in crate::telemetry) fn is_watch(uri: &http::Uri) -> bool {
    let mut pairs = uri.query().unwrap_or_default().split('&');
    pairs.any(|pair| matches!(pair, "watch" | "watch=true" | "watch=1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        for (path, template) in [
            ("/api/v1/pods", "/api/v1/pods"),
            ("/api/v1/namespaces", "/api/v1/namespaces"),
            ("/api/v1/namespaces/kube-system", "/api/v1/namespaces/{name}"),
            ("/api/v1/namespaces/a/finalize", "/api/v1/namespaces/{name}/finalize"),
            ("/api/v1/namespaces/a/pods", "/api/v1/namespaces/{namespace}/pods"),
            ("/api/v1/namespaces/a/pods/b", "/api/v1/namespaces/{namespace}/pods/{name}"),
            ("/api/v1/namespaces/a/pods/b/log", "/api/v1/namespaces/{namespace}/pods/{name}/log"),
            (
                "/api/v1/namespaces/a/services/b/proxy/x/y",
                "/api/v1/namespaces/{namespace}/services/{name}/proxy/{path}",
            ),
            ("/api/v1/nodes/n/status", "/api/v1/nodes/{name}/status"),
            ("/apis/serving.knative.dev/v1/services", "/apis/serving.knative.dev/v1/services"),
            (
                "/apis/serving.knative.dev/v1/namespaces/a/services/b",
                "/apis/serving.knative.dev/v1/namespaces/{namespace}/services/{name}",
            ),
            (
                "/apis/elpio.io/v1alpha1/namespaces/a/elpioservices/b/status",
                "/apis/elpio.io/v1alpha1/namespaces/{namespace}/elpioservices/{name}/status",
            ),
            ("/apis/apps/v1", "/apis/apps/v1"),
            ("/apis/apps", "/apis/apps"),
            ("/apis", "/apis"),
            ("/version", "/version"),
            ("/api/v1/namespaces/a/pods/b/", "/api/v1/namespaces/{namespace}/pods/{name}"),
            ("/whatever/secret", "/{path}"),
            ("", "/{path}"),
        ] {
            assert_eq!(parse(path).template, template, "{path}");
        }
    }

    #[test]
    fn resources() {
        assert_eq!(
            parse("/apis/serving.knative.dev/v1/namespaces/a/services").resource,
            Some("KnativeService")
        );
        assert_eq!(parse("/api/v1/services").resource, Some("Service"));
        assert_eq!(parse("/api/v1/secrets").resource, None);
    }

    #[test]
    fn watches() {
        for (uri, watch) in [
            ("/api/v1/pods?&watch=true&x=y", true),
            ("/api/v1/pods?watch=1", true),
            ("/api/v1/pods?limit=5", false),
            ("/a", false),
        ] {
            assert_eq!(uri.parse::<http::Uri>().map(|uri| is_watch(&uri)).ok(), Some(watch), "{uri}");
        }
    }
}
