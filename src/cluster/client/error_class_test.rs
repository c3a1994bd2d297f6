//! The table of error classes, with responses of API server 1.35.
#![allow(clippy::unwrap_used, reason = "the answers below are JSON")]

use serde_json::{Value, json};

use super::*;

fn status(code: u16, message: &str, details: &Value) -> Status {
    let reason = match code {
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        _ => "",
    };
    let answer = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code, "details": details});
    serde_json::from_value(answer).unwrap()
}

fn deployment() -> Value {
    json!({"name": "web", "group": "apps", "kind": "deployments"})
}

#[test]
fn every_code_has_its_class() {
    for (code, class) in [
        (400, ErrorType::Rejected),
        (401, ErrorType::Forbidden),
        (404, ErrorType::NotFound),
        (408, ErrorType::Timeout),
        (409, ErrorType::Conflict),
        (413, ErrorType::Rejected),
        (422, ErrorType::Rejected),
        (429, ErrorType::Throttled),
        (500, ErrorType::Unavailable),
        (502, ErrorType::Unavailable),
        (503, ErrorType::Unavailable),
        (504, ErrorType::Timeout),
    ] {
        assert_eq!(class_of(&status(code, "no", &Value::Null)), class, "{code}");
    }
}

#[test]
fn the_authorizer_refuses() {
    for message in [
        r#"deployments.apps "web" is forbidden: User "system:serviceaccount:elpio-system:elpio-operator" cannot patch resource "deployments" in API group "apps" in the namespace "ns""#,
        r#"services.serving.knative.dev is forbidden: User "elpio" cannot list resource "services" in API group "serving.knative.dev" at the cluster scope"#,
        r#"elpioservices.elpio.io "web" is forbidden: User "elpio" cannot patch resource "elpioservices/status" in API group "elpio.io" in the namespace "ns": RBAC: clusterrole.rbac.authorization.k8s.io "elpio" not found"#,
        r#"forbidden: User "system:anonymous" cannot get path "/apis""#,
    ] {
        assert_eq!(class_of(&status(403, message, &deployment())), ErrorType::Forbidden, "{message}");
    }
    let by_proxy = Status::failure("Access denied", NO_STATUS).with_code(403);
    assert_eq!(class_of(&by_proxy), ErrorType::Forbidden, "a proxy is no admission");
}

#[test]
fn admission_refuses() {
    for (what, message) in [
        (
            "ResourceQuota",
            r#"deployments.apps "web" is forbidden: exceeded quota: small, requested: count/deployments.apps=1, used: count/deployments.apps=1, limited: count/deployments.apps=1"#,
        ),
        (
            "LimitRange",
            r#"pods "web" is forbidden: [maximum cpu usage per Container is 500m, but limit is 2, maximum memory usage per Container is 1Gi, but limit is 2Gi]"#,
        ),
        (
            "Pod Security",
            r#"pods "web" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "web" must set securityContext.allowPrivilegeEscalation=false)"#,
        ),
        (
            "ValidatingAdmissionPolicy with reason Forbidden",
            r#"deployments.apps "web" is forbidden: ValidatingAdmissionPolicy 'images' with binding 'images' denied request: User "eve" cannot use registry.local"#,
        ),
        (
            "webhook",
            r#"admission webhook "policy.example.com" denied the request: images must have a digest"#,
        ),
        (
            "webhook that repeats the authorizer's words",
            r#"admission webhook "policy.example.com" denied the request: deployments.apps "web" is forbidden: User "eve" cannot patch resource "deployments" in API group "apps""#,
        ),
        (
            "webhook without a message",
            r#"admission webhook "policy.example.com" denied the request without explanation"#,
        ),
        (
            "OwnerReferencesPermissionEnforcement",
            r#"deployments.apps "web" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: , <nil>"#,
        ),
        (
            "NamespaceTerminating",
            r#"deployments.apps "web" is forbidden: unable to create new content in namespace ns because it is being terminated"#,
        ),
    ] {
        assert_eq!(class_of(&status(403, message, &deployment())), ErrorType::Rejected, "{what}");
    }
}

#[test]
fn a_401_is_the_credentials_unless_admission_chose_it() {
    let unauthorized = status(401, "Unauthorized", &Value::Null);
    assert_eq!(class_of(&unauthorized), ErrorType::Forbidden);
    assert!(cause_of(&unauthorized).starts_with("unauthorized: "), "{}", cause_of(&unauthorized));
    for denied in [
        status(401, r#"admission webhook "policy.example.com" denied the request: no"#, &Value::Null),
        status(
            401,
            r#"deployments.apps "web" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: no"#,
            &deployment(),
        ),
    ] {
        assert_eq!(class_of(&denied), ErrorType::Rejected, "{}", denied.message);
        assert_eq!(cause_of(&denied), denied.message);
    }
}

#[test]
fn a_namespace_that_ends_is_known() {
    let cause = json!([{"reason": "NamespaceTerminating", "message": "namespace ns is being terminated", "field": "metadata.namespace"}]);
    let terminating = status(403, "no", &json!({"name": "web", "kind": "events", "causes": cause}));
    assert!(is_namespace_gone(&terminating));
    assert!(is_namespace_gone(&status(
        404,
        r#"namespaces "ns" not found"#,
        &json!({"name": "ns", "kind": "namespaces"})
    )));
    assert!(!is_namespace_gone(&status(
        404,
        r#"events.events.k8s.io "web.1" not found"#,
        &json!({"name": "web.1", "group": "events.k8s.io", "kind": "events"})
    )));
    assert!(!is_namespace_gone(&status(403, "no", &deployment())));
}

#[test]
fn what_admission_refuses_is_for_the_author_and_what_breaks_on_the_way_is_not() {
    const FAILED: &str = "failed to patch deployments.apps web in namespace ns: ";
    for (of_author, reason, message) in [
        (true, "InvalidSpec", "spec.port: 8012 is reserved"),
        (true, "NameConflict", "Service web already exists"),
        (true, "BuildFailed", "no buildpack groups passed detection"),
        (
            true,
            "ApplyFailed",
            r#"deployments.apps "web" is forbidden: exceeded quota: small, requested: count/deployments.apps=1"#,
        ),
        (
            true,
            "ApplyFailed",
            r#"pods "web" is forbidden: [maximum cpu usage per Container is 500m, but limit is 2]"#,
        ),
        (
            true,
            "ApplyFailed",
            r#"pods "web" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true"#,
        ),
        (
            true,
            "ApplyFailed",
            r#"deployments.apps "web" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: no"#,
        ),
        (
            true,
            "ApplyFailed",
            r#"admission webhook "policy.example.com" denied the request: images must have a digest"#,
        ),
        (
            true,
            "ApplyFailed",
            r#"admission webhook "policy.example.com" denied the request without explanation"#,
        ),
        (
            false,
            "ApplyFailed",
            r#"Internal error occurred: failed calling webhook "policy.example.com": connection refused"#,
        ),
        (false, "ApplyFailed", "no response within 12 s"),
        (false, "ApplyFailed", "Too many requests, please try again later."),
        (false, "ApplyFailed", r#"Deployment.apps "web" is invalid: spec.replicas: must be positive"#),
        (
            false,
            "ApplyFailed",
            r#"deployments.apps "web" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: , <nil>"#,
        ),
        (
            false,
            "Forbidden",
            r#"deployments.apps "web" is forbidden: User "eve" cannot patch resource "deployments" in API group "apps""#,
        ),
        (false, "Progressing", "Knative Service web: has not observed generation 1 yet"),
        (false, "RevisionFailed", "Container failed with: the program ended."),
    ] {
        let message = format!("{FAILED}{message}");
        assert_eq!(is_of_author(reason, &message), of_author, "{reason}: {message}");
    }
}
