//! Who owns a name, by the metadata of the object that has it: a table.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

const OWNER: Owner<'static> = Owner {
    api_version: "elpio.io/v1alpha1",
    kind: "ElpioService",
    namespace: "shop",
    name: "web",
    uid: "1",
    label: ("elpio.io/service", "web"),
    build: None,
};

#[allow(clippy::needless_pass_by_value)]
fn object(metadata: Value) -> Metadata {
    let mut object =
        json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata});
    object["metadata"]["name"] = "web".into();
    serde_json::from_value(object).unwrap()
}

fn controller(api_version: &str, kind: &str, name: &str, uid: &str) -> Value {
    json!([{"apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": true}])
}

fn classify(mode: &WriteMode, metadata: Value) -> String {
    let id = ChildId::new(ChildKind::Service, "web");
    match classify_owner(&OWNER, &id, mode, Some(&object(metadata))) {
        NameOwner::Terminating(what) => format!("terminating: {what}"),
        NameOwner::Controller(other) => format!("other: {}", display_owner(&other)),
        NameOwner::Unowned(managers) => format!("other: {managers}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn ownership_is_the_controller_and_without_one_our_marks() {
    let own = json!({"elpio.io/service": "web"});
    let applied = json!([{"manager": "elpio", "operation": "Apply"}]);
    let by_hand = json!([{"manager": "kubectl-create", "operation": "Update"}, {"manager": "argocd", "operation": "Apply"}]);
    let rows = [
        (json!({"ownerReferences": controller("elpio.io/v1alpha1", "ElpioService", "web", "1")}), "Owned"),
        (json!({"labels": own, "managedFields": applied}), "Orphan"),
        (json!({"labels": own, "managedFields": by_hand}), "other: field managers argocd, kubectl-create"),
        (json!({"labels": own}), "other: no controller"),
        (json!({"managedFields": applied}), "other: field manager elpio"),
        (
            json!({"labels": {"elpio.io/service": "api"}, "managedFields": applied}),
            "other: field manager elpio",
        ),
        // An owner reference that is not the controller does not count.
        (
            json!({"ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "1"}]}),
            "other: no controller",
        ),
        (
            json!({"labels": own, "ownerReferences": controller("serving.knative.dev/v1", "Route", "web", "7")}),
            "terminating: Service web of Route web",
        ),
        (
            json!({"ownerReferences": controller("serving.knative.dev/v1", "Route", "web", "7")}),
            "other: Route web (serving.knative.dev/v1)",
        ),
        // Anybody can set a label and choose a group that belongs to no engine.
        (
            json!({"labels": own, "ownerReferences": controller("t1.example.com/v1", "Thing1", "x", "7")}),
            "other: Thing1 x (t1.example.com/v1)",
        ),
        (
            json!({"labels": own, "ownerReferences": controller("external-secrets.io/v1", "ClusterExternalSecret", "db", "7")}),
            "other: ClusterExternalSecret db (external-secrets.io/v1)",
        ),
        // The same name with another uid: an object that was deleted before this one was created.
        (
            json!({"labels": own, "ownerReferences": controller("elpio.io/v1alpha1", "ElpioService", "web", "0")}),
            "terminating: Service web of ElpioService web",
        ),
        (
            json!({"ownerReferences": controller("elpio.io/v1alpha1", "ElpioService", "api", "2")}),
            "other: ElpioService api (elpio.io/v1alpha1)",
        ),
        (
            json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "ownerReferences": controller("apps/v1", "X", "x", "7")}),
            "terminating: Service web",
        ),
    ];
    for (metadata, expected) in rows {
        assert_eq!(classify(&WriteMode::Apply, metadata.clone()), expected, "{metadata}");
    }
}

/// The backup tool created a restored run, so its field managers prove nothing.
#[test]
fn what_is_created_once_is_adopted_by_its_label() {
    let rows = [
        (json!({"labels": {"elpio.io/service": "web"}}), "Orphan"),
        (json!({}), "other: no controller"),
        (
            json!({"labels": {"elpio.io/service": "web"}, "ownerReferences": controller("v1", "X", "x", "7")}),
            "other: X x (v1)",
        ),
    ];
    for (metadata, expected) in rows {
        assert_eq!(classify(&WriteMode::CreateOnly, metadata.clone()), expected, "{metadata}");
    }
}

#[test]
fn an_absent_name_is_free_and_an_owner_exists_by_its_uid() {
    let id = ChildId::new(ChildKind::Service, "web");
    assert_eq!(classify_owner(&OWNER, &id, &WriteMode::Apply, None::<&Metadata>), NameOwner::Absent);
    for (found, expected) in [
        (None, false),
        (Some(object(json!({"uid": "1"}))), true),
        (Some(object(json!({"uid": "2"}))), false),
        (Some(object(json!({"uid": "1", "deletionTimestamp": "2026-01-01T00:00:00Z"}))), false),
    ] {
        assert_eq!(exists(found.as_ref(), "1"), expected, "{found:?}");
    }
    assert_eq!(own_resource("elpio.io/v1alpha1", "ElpioFunction").plural, "elpiofunctions");
}

/// Anybody who may write the object may write anything into its ownerReferences.
#[test]
fn only_references_to_own_kinds_with_a_valid_name_are_asked_for() {
    let reference = |api_version: &str, kind: &str, name: &str| OwnerReference {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        ..OwnerReference::default()
    };
    let own = "elpio.io/v1alpha1";
    let long = "a".repeat(64);
    for (reference, expected) in [
        (reference(own, "ElpioService", "web"), true),
        (reference(own, "ElpioFunction", "web"), true),
        (reference(own, "elpioservice", "web"), false),
        (reference(own, "ElpioService/web/../..", "web"), false),
        (reference(own, "Secret", "web"), false),
        (reference("elpio.io/v1alpha1/../../api/v1", "ElpioService", "web"), false),
        (reference("elpio.io/v2", "ElpioService", "web"), false),
        (reference("v1", "ElpioService", "web"), false),
        (reference("", "", ""), false),
        (reference(own, "ElpioService", ""), false),
        (reference(own, "ElpioService", ".."), false),
        (reference(own, "ElpioService", "../secrets/token"), false),
        (reference(own, "ElpioService", "web?watch=true"), false),
        (reference(own, "ElpioService", "web%2Fstatus"), false),
        (reference(own, "ElpioService", "web#"), false),
        (reference(own, "ElpioService", "web\n"), false),
        (reference(own, "ElpioService", "a.b"), false),
        (reference(own, "ElpioService", "Web"), false),
        (reference(own, "ElpioService", &long), false),
    ] {
        assert_eq!(is_own_reference(&OWNER, &reference), expected, "{reference:?}");
    }
}
