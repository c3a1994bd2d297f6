//! Templates of Kubernetes API paths, without names. It knows the structure of paths, not the kinds. A
//! resource outside the catalog has a constant template, because an object's author may invent one (in an
//! owner reference or a scale target).

use crate::telemetry::catalog::resources;

/// A parsed path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::telemetry) struct ApiPath {
    /// The path with placeholders for names: `url.template` in the semantic conventions.
    pub(in crate::telemetry) template: String,
    /// The resource, if it is in the table.
    pub(in crate::telemetry) resource: Option<&'static str>,
}

/// Non-resource paths that are kept unchanged.
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

/// Subresources that are kept unchanged.
const SUBRESOURCES: &[&str] = &["status", "scale", "finalizers"];

/// Subresources of a namespace, which resemble resources in the namespace.
const NAMESPACE_SUBRESOURCES: &[&str] = &["status", "finalize"];

/// Parses a path (Kubernetes API concepts, resource URIs).
pub(in crate::telemetry) fn parse(path: &str) -> ApiPath {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    match segments.as_slice() {
        ["api", version, rest @ ..] => resource_path("", version, rest),
        ["apis", group, version, rest @ ..] => resource_path(group, version, rest),
        ["apis", group] if !resources::versions(group).is_empty() => {
            ApiPath { template: format!("/apis/{group}"), resource: None }
        }
        ["apis", _] => ApiPath { template: "/apis/{group}".to_owned(), resource: None },
        _ => other(path),
    }
}

fn resource_path(group: &str, version: &str, rest: &[&str]) -> ApiPath {
    let (scope, plural, rest): (_, _, &[&str]) = match rest {
        [] => return ApiPath { template: prefix(group, version), resource: None },
        ["namespaces", _, part] if group.is_empty() && NAMESPACE_SUBRESOURCES.contains(part) => {
            let template = format!("{}/namespaces/{{name}}/{part}", prefix(group, version));
            return ApiPath { template, resource: None };
        }
        ["namespaces", _, plural, rest @ ..] => ("/namespaces/{namespace}", *plural, rest),
        [plural, rest @ ..] => ("", *plural, rest),
    };
    let known = resources::find(group, plural).filter(|known| known.versions.contains(&version));
    let template = match (known, group) {
        (Some(_), _) => format!("{}{scope}/{plural}{}", prefix(group, version), name_template(rest)),
        (None, "") => format!("/api/{{version}}{scope}/{{resource}}{}", name_template(rest)),
        (None, _) => format!("/apis/{{group}}/{{version}}{scope}/{{resource}}{}", name_template(rest)),
    };
    ApiPath { template, resource: known.and_then(|known| known.watched) }
}

/// The prefix for a version of a group.
fn prefix(group: &str, version: &str) -> String {
    match (resources::versions(group).contains(&version), group) {
        (true, "") => format!("/api/{version}"),
        (true, _) => format!("/apis/{group}/{version}"),
        (false, "") => "/api/{version}".to_owned(),
        (false, _) => "/apis/{group}/{version}".to_owned(),
    }
}

/// A name and a subresource; any rest (as after `proxy`) is user-defined.
fn name_template(rest: &[&str]) -> String {
    match rest {
        [] => String::new(),
        [_] => "/{name}".to_owned(),
        [_, subresource] if SUBRESOURCES.contains(subresource) => format!("/{{name}}/{subresource}"),
        [_, _] => "/{name}/{subresource}".to_owned(),
        [_, _, ..] => "/{name}/{subresource}/{path}".to_owned(),
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
            ("/api/v1/namespaces/a/pods/b/log", "/api/v1/namespaces/{namespace}/pods/{name}/{subresource}"),
            (
                "/api/v1/namespaces/a/services/b/proxy/x/y",
                "/api/v1/namespaces/{namespace}/services/{name}/{subresource}/{path}",
            ),
            ("/api/v1/nodes/n/status", "/api/{version}/{resource}/{name}/status"),
            ("/api/v9/pods", "/api/{version}/{resource}"),
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
    fn an_invented_resource_has_a_constant_template() {
        for n in 0..30 {
            for (path, template) in [
                (
                    format!("/apis/t{n}.example.com/v1/namespaces/a/things/b"),
                    "/apis/{group}/{version}/namespaces/{namespace}/{resource}/{name}",
                ),
                (
                    format!("/apis/serving.knative.dev/v1/namespaces/a/things{n}/b"),
                    "/apis/{group}/{version}/namespaces/{namespace}/{resource}/{name}",
                ),
                (
                    format!("/apis/serving.knative.dev/v{}/namespaces/a/services/b", n + 2),
                    "/apis/{group}/{version}/namespaces/{namespace}/{resource}/{name}",
                ),
                (format!("/apis/t{n}.example.com"), "/apis/{group}"),
                (format!("/apis/t{n}.example.com/v1"), "/apis/{group}/{version}"),
            ] {
                assert_eq!(parse(&path), ApiPath { template: template.to_owned(), resource: None }, "{path}");
            }
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
