//! What becomes of an `ElpioService`, held against golden files and against what is true of every child.

use std::collections::BTreeSet;

use kube::{ResourceExt, core::DynamicObject};

use crate::golden::{UID, cases, compare, read, stored, unset};
use elpio_operator::{
    api::{self, ElpioService, Engine, label, policy::PodSecurity},
    foreign::ChildKind,
    render::{self, Defaults, Desired, Owner},
};

/// The operator's settings, which some cases change.
fn defaults(case: &str) -> Defaults {
    let set = |engine| Defaults {
        engine,
        cluster_issuer: "house".to_owned(),
        external_secrets_version: "v1beta1".to_owned(),
        ..Defaults::default()
    };
    match case {
        "keda-pod-security" | "knative-pod-security" => {
            Defaults { pod_security: PodSecurity::Enabled, ..Defaults::default() }
        }
        "keda-no-pod-security" | "knative-no-pod-security" => {
            Defaults { pod_security: PodSecurity::Disabled, ..Defaults::default() }
        }
        "operator-defaults" | "operator-defaults-knative" => set(Engine::Keda),
        _ => Defaults::default(),
    }
}

fn rendered(case: &str) -> Desired {
    desired(case, read("service", case))
}

fn desired(case: &str, object: serde_json::Value) -> Desired {
    let object: ElpioService = serde_json::from_value(object).unwrap();
    let name = object.metadata.name.as_deref().unwrap();
    let owner = Owner {
        api_version: api::API_VERSION,
        kind: "ElpioService",
        namespace: object.metadata.namespace.as_deref().unwrap(),
        name,
        uid: UID,
        label: (label::SERVICE, name),
        build: object
            .metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get(api::annotation::BUILD))
            .map(String::as_str),
    };
    let defaults = defaults(case);
    let valid = render::validate(name, &object.spec, None, &defaults)
        .unwrap_or_else(|faults| panic!("{case}: {faults:?}"));
    render::render(&owner, &valid, &defaults)
}

/// The hash stands in the files too: were it to change, every child in every cluster would be written again
/// after an upgrade.
#[test]
fn every_service_becomes_its_children() {
    compare("service", rendered);
}

/// What holds for every child, whatever the case.
#[test]
fn children_are_owned_labelled_and_in_order() {
    for case in cases("service") {
        let desired = rendered(&case);
        let name = read("service", &case)["metadata"]["name"].clone();
        for (index, child) in desired.children.iter().enumerate() {
            let what = format!("{case}: {} {}", child.id.kind.display(), child.id.name);
            let metadata = &child.body()["metadata"];
            assert_eq!(metadata["name"], child.id.name.as_str(), "{what}");
            assert_eq!(metadata["labels"][label::MANAGED_BY], "elpio", "{what}");
            assert_eq!(metadata["labels"][label::SERVICE], name, "{what}");
            let owners = metadata["ownerReferences"].as_array().unwrap();
            assert_eq!(owners.len(), 1, "{what}");
            assert!(owners[0]["controller"] == true && owners[0]["blockOwnerDeletion"] == true, "{what}");
            for before in &child.depends_on {
                assert!(
                    desired.children[..index].iter().any(|other| other.id == *before),
                    "{what} waits for {before:?}, which is not before it"
                );
            }
            assert!(
                child.body()["spec"].get("replicas").is_none() || child.id.kind != ChildKind::Deployment,
                "{what}: an autoscaler owns replicas"
            );
            assert_eq!(
                child.manifest()["metadata"]["annotations"][api::annotation::APPLIED],
                child.hash(),
                "{what}"
            );
            let sent = serde_json::from_value(child.manifest()).unwrap();
            assert_eq!(render::drift::differences(child, &sent), [], "{what}");
            let kept = stored(child.manifest());
            assert_eq!(render::drift::differences(child, &kept), [], "{what}: {kept:?}");
            if matches!(child.id.kind, ChildKind::Deployment | ChildKind::KnativeService) {
                assert_eq!(
                    child.body()["spec"]["template"]["metadata"]["labels"],
                    serde_json::json!({
                        "app.kubernetes.io/instance": name,
                        "app.kubernetes.io/managed-by": "elpio",
                        "app.kubernetes.io/name": name,
                        "app.kubernetes.io/part-of": "elpio",
                        "elpio.io/service": name,
                    }),
                    "{what}"
                );
            }
        }
        let ids: BTreeSet<_> = desired.children.iter().map(|child| &child.id).collect();
        assert_eq!(ids.len(), desired.children.len(), "{case}: two children of one name");
    }
}

/// Trace context is sent, and yet the same object stays the same object.
#[test]
fn what_is_carried_does_not_change_the_hash() {
    let child = rendered("knative-minimal").children.remove(0);
    let mut traced = child.clone();
    traced.unhashed_annotations.insert(api::annotation::TRACEPARENT.to_owned(), "00-1-2-01".to_owned());
    assert_eq!(traced.hash(), child.hash());
    assert_eq!(traced.manifest()["metadata"]["annotations"][api::annotation::TRACEPARENT], "00-1-2-01");
    let untraced = serde_json::from_value(child.manifest()).unwrap();
    assert_eq!(render::drift::differences(&traced, &untraced), []);
    let mut edited = read("service", "knative-minimal");
    edited["spec"]["image"]["tag"] = "other".into();
    assert_ne!(desired("knative-minimal", edited).children[0].hash(), child.hash());
}

/// What is compared with the live object: the body, and the annotation with its hash.
#[test]
fn what_was_taken_from_a_child_is_named() {
    type Change = fn(&mut DynamicObject);
    let child = rendered("knative-minimal").children.remove(0);
    let cases: [(Change, &str); 3] = [
        (
            |live| drop(live.annotations_mut().insert("elpio.io/applied".into(), "other".into())),
            "metadata.annotations[elpio.io/applied]",
        ),
        (|live| live.metadata.owner_references = None, "metadata.ownerReferences"),
        (|live| drop(live.data["spec"].take()), "spec"),
    ];
    for (change, expected) in cases {
        let mut live = serde_json::from_value(child.manifest()).unwrap();
        change(&mut live);
        let paths = render::drift::differences(&child, &live).into_iter().map(|found| found.path);
        assert_eq!(paths.collect::<Vec<_>>(), [expected]);
    }
}

/// A field that no case sets is a field that no golden file proves: so each field stands in some case, for
/// both engines.
#[test]
fn the_cases_set_every_field() {
    assert_eq!(unset("ElpioService", "service", "knative"), Vec::<String>::new());
    // With a digest the annotation of the build would not show; traffic is refused.
    assert_eq!(
        unset("ElpioService", "service", "keda"),
        [
            ".image.digest",
            ".traffic.latestRevision",
            ".traffic.percent",
            ".traffic.revisionName",
            ".traffic.tag",
        ]
    );
}
