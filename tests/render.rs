//! Golden files: each object under `tests/golden/` becomes exactly the children that stand beside it.
//!
//! `UPDATE_GOLDEN=1 cargo test --test render` writes them anew; read the difference before it is committed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use elpio_operator::api::{self, ElpioFunction, ElpioService, Engine, label};
use elpio_operator::foreign::ChildKind;
use elpio_operator::render::{self, Built, Child, Defaults, Desired, Owner, ValidFunction};
use serde_json::Value;

const SUFFIX: &str = ".children.yaml";

/// The folder of a kind: `service`, `function`.
fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(kind)
}

/// Names of the cases of a kind: every file that is not a result.
fn cases(kind: &str) -> Vec<String> {
    let names = std::fs::read_dir(folder(kind)).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
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

fn read(kind: &str, case: &str) -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(folder(kind).join(format!("{case}.yaml"))).unwrap()).unwrap()
}

fn rendered(case: &str) -> Desired {
    let object: ElpioService = serde_json::from_value(read("service", case)).unwrap();
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

/// Compares what each case becomes with the committed file.
fn compare(kind: &str, rendered: impl Fn(&str) -> Desired) {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for case in cases(kind) {
        let path = folder(kind).join(format!("{case}{SUFFIX}"));
        let now = golden(&rendered(&case));
        if update {
            std::fs::write(&path, &now).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(now, committed, "{}: UPDATE_GOLDEN=1 writes it anew", path.display());
    }
    let files = std::fs::read_dir(folder(kind)).unwrap().count();
    assert_eq!(files, 2 * cases(kind).len(), "a result without a case");
}

/// The hash stands in the files too: were it to change, every child in every cluster would be written again after an upgrade.
#[test]
fn every_service_becomes_its_children() {
    compare("service", rendered);
}

fn function(case: &str) -> (ElpioFunction, ValidFunction) {
    let object: ElpioFunction = serde_json::from_value(read("function", case)).unwrap();
    let rebuild = object.metadata.annotations.as_ref().and_then(|all| all.get(api::annotation::REBUILD)).map(String::as_str);
    let name = object.metadata.name.as_deref().unwrap();
    let valid =
        render::validate_function(name, &object.spec, rebuild, &Defaults::default()).unwrap_or_else(|faults| panic!("{case}: {faults:?}"));
    (object, valid)
}

/// The run; the service with the digest that it reports; the service when it reports none.
fn function_children(case: &str) -> Vec<Child> {
    let (object, valid) = function(case);
    let owner = Owner {
        api_version: api::API_VERSION,
        kind: "ElpioFunction",
        namespace: object.metadata.namespace.as_deref().unwrap(),
        name: &valid.name,
        uid: "11111111-2222-3333-4444-555555555555",
        label: (label::FUNCTION, &valid.name),
        build: None,
    };
    let run = valid.run_name();
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    vec![
        render::pipeline_run(&owner, &valid, &Defaults::default()),
        render::published(&owner, &valid, &Built::by_run(&valid, &run, Some(&digest))),
        render::published(&owner, &valid, &Built::by_run(&valid, &run, Some("latest"))),
    ]
}

/// The run's name stands in the files too: were it to change, every function in every cluster would be built again after an upgrade.
#[test]
fn every_function_becomes_its_run_and_its_service() {
    compare("function", |case| Desired { children: function_children(case), ignored: Vec::new() });
}

/// What a function publishes is taken as it is: by the types, and by the check that the service's own reconcile makes.
#[test]
fn what_a_function_publishes_is_a_valid_service() {
    for case in cases("function") {
        for child in function_children(&case).iter().skip(1) {
            let service: ElpioService = serde_json::from_value(child.body.clone()).unwrap();
            let name = service.metadata.name.as_deref().unwrap();
            assert_eq!(render::validate(name, &service.spec, &Defaults::default()).err(), None, "{case}");
        }
    }
}

/// The run's name follows the build inputs, and nothing else.
#[test]
fn a_run_is_named_by_its_inputs_alone() {
    let (object, valid) = function("git-full");
    let renamed = |change: fn(&mut api::ElpioFunctionSpec), rebuild: Option<&str>| {
        let mut spec = object.spec.clone();
        change(&mut spec);
        render::validate_function("resize", &spec, rebuild, &Defaults::default()).unwrap().run_name() != valid.run_name()
    };
    let same = Some("2");
    let inputs: [(&str, fn(&mut api::ElpioFunctionSpec)); 9] = [
        ("url", |spec| spec.source.git.as_mut().unwrap().url.push('x')),
        ("revision", |spec| spec.source.git.as_mut().unwrap().revision.push('x')),
        ("subPath", |spec| spec.source.git.as_mut().unwrap().sub_path = None),
        ("image", |spec| spec.image.push('x')),
        ("builder", |spec| spec.builder.push('x')),
        ("runtime", |spec| spec.runtime.push('x')),
        ("entrypoint", |spec| spec.entrypoint = None),
        ("build.serviceAccount", |spec| spec.build.service_account = None),
        ("build.timeout", |spec| spec.build.timeout = "1h".to_owned()),
    ];
    for (what, change) in inputs {
        assert!(renamed(change, same), "{what} is an input of the build");
    }
    assert!(renamed(|_| {}, Some("3")) && renamed(|_| {}, None), "the annotation is an input of the build");
    let others: [(&str, fn(&mut api::ElpioFunctionSpec)); 7] = [
        ("nothing", |_| {}),
        ("build.keep", |spec| spec.build.keep = 9),
        ("env", |spec| spec.env.clear()),
        ("scaling", |spec| spec.scaling.min_scale = 2),
        ("port", |spec| spec.port = 4000),
        ("engine", |spec| spec.engine = None),
        ("serviceAccount", |spec| spec.service_account = None),
    ];
    for (what, change) in others {
        assert!(!renamed(change, same), "{what} is no input of the build");
    }
    let longest = "a".repeat(46);
    let name = render::validate_function(&longest, &object.spec, same, &Defaults::default()).unwrap().run_name();
    assert_eq!(name.len(), 63, "{name} is a label's value");
}

/// Tekton asks a registry about a step that has neither script nor command; a script that held a user's text would run it.
#[test]
fn steps_have_a_script_or_a_command_and_no_text_of_users() {
    let mut steps = 0;
    for case in cases("function") {
        for task in function_children(&case)[0].body["spec"]["pipelineSpec"]["tasks"].as_array().unwrap() {
            for step in task["taskSpec"]["steps"].as_array().unwrap() {
                assert!(step.get("script").is_some() != step.get("command").is_some(), "{case}: {step}");
                assert!(!step["script"].as_str().unwrap_or_default().contains("$(params."), "{case}: {step}");
                steps += 1;
            }
        }
    }
    assert_eq!(steps, 3 * cases("function").len());
}

/// What holds for every child, whatever the case.
#[test]
fn children_are_owned_labelled_and_in_order() {
    for case in cases("service") {
        let desired = rendered(&case);
        let name = read("service", &case)["metadata"]["name"].clone();
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
fn the_cases_set_every_field() {
    let unset = |kind: &str, folder: &str, prefix: &str| {
        let (_, crd) = api::crds().into_iter().find(|(_, crd)| crd.spec.names.kind == kind).unwrap();
        let schema = serde_json::to_value(&crd).unwrap()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone();
        let (mut fields, mut set) = (BTreeSet::new(), BTreeSet::new());
        fields_of_schema("", &schema, &mut fields);
        for case in cases(folder).iter().filter(|case| case.starts_with(prefix)) {
            fields_of_value("", &read(folder, case)["spec"], &mut set);
        }
        fields.difference(&set).cloned().collect::<Vec<_>>()
    };
    let none = Vec::<String>::new();
    assert_eq!(unset("ElpioService", "service", "knative"), none);
    // With a digest the annotation of the build would not show.
    assert_eq!(unset("ElpioService", "service", "keda"), [".image.digest"]);
    assert_eq!(unset("ElpioFunction", "function", ""), none);
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
