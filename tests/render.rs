//! Golden files: each `ElpioService` under `tests/golden/service/` becomes exactly the objects that stand beside it.
//!
//! `UPDATE_GOLDEN=1 cargo test --test render` writes them anew; read the difference before it is committed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use elpio_operator::api::{self, ElpioService, Engine, label};
use elpio_operator::foreign::ChildKind;
use elpio_operator::render::{self, Defaults, Desired, Owner};
use serde_json::Value;

const SUFFIX: &str = ".children.yaml";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/service")
}

/// Names of the cases: every file that is not a result.
fn cases() -> Vec<String> {
    let names = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut cases: Vec<_> = names.filter(|name| !name.ends_with(SUFFIX)).map(|name| name.trim_end_matches(".yaml").to_owned()).collect();
    cases.sort();
    cases
}

/// The operator's settings, which two cases change.
fn defaults(case: &str) -> Defaults {
    let set = |engine| Defaults {
        engine,
        cluster_issuer: "house".to_owned(),
        external_secrets_version: "v1beta1".to_owned(),
        ..Defaults::default()
    };
    match case {
        "operator-defaults" | "operator-defaults-knative" => set(Engine::Keda),
        _ => Defaults::default(),
    }
}

fn read(case: &str) -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(folder().join(format!("{case}.yaml"))).unwrap()).unwrap()
}

fn rendered(case: &str) -> Desired {
    let object: ElpioService = serde_json::from_value(read(case)).unwrap();
    let name = object.metadata.name.as_deref().unwrap();
    let owner = Owner {
        api_version: api::API_VERSION,
        kind: "ElpioService",
        namespace: object.metadata.namespace.as_deref().unwrap(),
        name,
        uid: "11111111-2222-3333-4444-555555555555",
        label: (label::SERVICE, name),
        build: object.metadata.annotations.as_ref().and_then(|all| all.get(api::annotation::BUILD)).map(String::as_str),
    };
    let defaults = defaults(case);
    let valid = render::validate(name, &object.spec, &defaults).unwrap_or_else(|faults| panic!("{case}: {faults:?}"));
    render::render(&owner, &valid, &defaults)
}

/// All children as one YAML stream; what is not part of an object stands in comments.
fn golden(desired: &Desired) -> String {
    let mut text = String::new();
    for ignored in &desired.ignored {
        writeln!(text, "# ignored: {}: {}", ignored.field, ignored.why).unwrap();
    }
    for child in &desired.children {
        writeln!(text, "---\n# hash: {}", child.hash()).unwrap();
        for id in &child.after {
            writeln!(text, "# after: {} {}", id.kind.display(), id.name).unwrap();
        }
        text.push_str(&serde_saphyr::to_string(&child.body).unwrap());
    }
    text
}

/// The hash stands in the files too: were it to change, every child in every cluster would be written again after an upgrade.
#[test]
fn every_service_becomes_its_children() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for case in cases() {
        let path = folder().join(format!("{case}{SUFFIX}"));
        let now = golden(&rendered(&case));
        if update {
            std::fs::write(&path, &now).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(now, committed, "{}: UPDATE_GOLDEN=1 writes it anew", path.display());
    }
    let results = std::fs::read_dir(folder())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().ends_with(SUFFIX))
        .count();
    assert_eq!(results, cases().len(), "a result without a case");
}

/// What holds for every child, whatever the case.
#[test]
fn children_are_owned_labelled_and_in_order() {
    for case in cases() {
        let desired = rendered(&case);
        let name = read(&case)["metadata"]["name"].clone();
        for (index, child) in desired.children.iter().enumerate() {
            let what = format!("{case}: {} {}", child.id.kind.display(), child.id.name);
            let metadata = &child.body["metadata"];
            assert_eq!(metadata["name"], child.id.name.as_str(), "{what}");
            assert_eq!(metadata["labels"][label::MANAGED_BY], "elpio", "{what}");
            assert_eq!(metadata["labels"][label::SERVICE], name, "{what}");
            let owners = metadata["ownerReferences"].as_array().unwrap();
            assert_eq!(owners.len(), 1, "{what}");
            assert!(owners[0]["controller"] == true && owners[0]["blockOwnerDeletion"] == true, "{what}");
            for before in &child.after {
                assert!(
                    desired.children[..index].iter().any(|other| other.id == *before),
                    "{what} waits for {before:?}, which is not before it"
                );
            }
            assert!(
                child.body["spec"].get("replicas").is_none() || child.id.kind != ChildKind::Deployment,
                "{what}: an autoscaler owns replicas"
            );
            assert_eq!(child.manifest()["metadata"]["annotations"][api::annotation::APPLIED], child.hash(), "{what}");
            assert!(render::drift::satisfied(&child.body, &child.manifest()), "{what}");
            if matches!(child.id.kind, ChildKind::Deployment | ChildKind::KnativeService) {
                assert_eq!(
                    child.body["spec"]["template"]["metadata"]["labels"],
                    serde_json::json!({"app.kubernetes.io/managed-by": "elpio", "elpio.io/service": name}),
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
    traced.carried.insert(api::annotation::TRACEPARENT.to_owned(), "00-1-2-01".to_owned());
    assert_eq!(traced.hash(), child.hash());
    assert_eq!(traced.manifest()["metadata"]["annotations"][api::annotation::TRACEPARENT], "00-1-2-01");
    let mut edited = child.clone();
    edited.body["spec"]["template"]["spec"]["containers"][0]["image"] = "other".into();
    assert_ne!(edited.hash(), child.hash());
}

/// A field that no case sets is a field that no golden file proves: so each field stands in some case, for both engines.
#[test]
fn the_cases_set_every_field_on_both_engines() {
    let (_, crd) = api::crds().into_iter().find(|(_, crd)| crd.spec.names.kind == "ElpioService").unwrap();
    let schema = serde_json::to_value(&crd).unwrap()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone();
    let mut fields = BTreeSet::new();
    fields_of_schema("", &schema, &mut fields);
    for engine in ["knative", "keda"] {
        let mut set = BTreeSet::new();
        for case in cases().iter().filter(|case| case.starts_with(engine)) {
            fields_of_value("", &read(case)["spec"], &mut set);
        }
        let missing: Vec<_> = fields.difference(&set).filter(|field| engine == "knative" || *field != ".image.digest").collect();
        assert!(missing.is_empty(), "{engine}: {missing:?}");
    }
}

fn fields_of_schema(path: &str, schema: &Value, fields: &mut BTreeSet<String>) {
    if let Some(items) = schema.get("items") {
        fields_of_schema(path, items, fields);
    } else if let Some(properties) = schema.get("properties") {
        properties.as_object().unwrap().iter().for_each(|(name, property)| fields_of_schema(&format!("{path}.{name}"), property, fields));
    } else {
        fields.insert(path.to_owned());
    }
}

fn fields_of_value(path: &str, value: &Value, fields: &mut BTreeSet<String>) {
    fields.insert(path.to_owned());
    match value {
        Value::Array(items) => items.iter().for_each(|item| fields_of_value(path, item, fields)),
        Value::Object(map) => map.iter().for_each(|(name, value)| fields_of_value(&format!("{path}.{name}"), value, fields)),
        _ => {}
    }
}
