//! Every decision about a function's runs and its service, as a table over the children.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::{
    api::{ElpioFunctionSpec, label},
    render::validate_function,
};

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn valid(revision: &str, keep: i32) -> ValidFunction {
    let spec: ElpioFunctionSpec = serde_json::from_value(json!({
        "source": {"git": {"url": "https://example.com/f.git", "revision": revision}},
        "runtime": "go", "image": "example.com/f:latest", "build": {"keep": keep},
    }))
    .unwrap();
    validate_function("f", &spec, None, &Defaults::default()).unwrap()
}

fn run(name: &str, age: u32, succeeded: &str, more: &Value) -> (ChildId, Arc<DynamicObject>) {
    let mut object = json!({"apiVersion": "tekton.dev/v1", "kind": "PipelineRun",
        "metadata": {"name": name, "creationTimestamp": format!("2026-01-01T00:00:{:02}Z", 59 - age)}, "spec": {},
        "status": {"conditions": [{"type": "Succeeded", "status": succeeded}], "results": [{"name": "IMAGE_DIGEST", "value": DIGEST}]}});
    for (key, value) in more.as_object().unwrap() {
        object[key].as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
    }
    (ChildId::new(ChildKind::PipelineRun, name), Arc::new(serde_json::from_value(object).unwrap()))
}

fn serving(build: Option<&str>) -> (ChildId, Arc<DynamicObject>) {
    let annotations = build.map_or(json!({}), |build| json!({"elpio.io/build": build}));
    let object = json!({"apiVersion": "elpio.io/v1alpha1", "kind": "ElpioService", "metadata": {"name": "f", "annotations": annotations},
        "spec": {"image": {"repository": "example.com/f", "digest": "sha256:old"}}});
    (ChildId::new(ChildKind::ElpioService, "f"), Arc::new(serde_json::from_value(object).unwrap()))
}

/// What is desired, as `mode name` a child.
fn planned(
    valid: &ValidFunction,
    live: impl IntoIterator<Item = (ChildId, Arc<DynamicObject>)>,
) -> Vec<String> {
    let owner = Owner {
        api_version: "elpio.io/v1alpha1",
        kind: "ElpioFunction",
        namespace: "ns",
        name: "f",
        uid: "u",
        label: (label::FUNCTION, "f"),
        build: None,
    };
    let live = live.into_iter().collect();
    let desired = plan(
        &owner,
        valid,
        &live,
        Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        &Defaults::default(),
    );
    let word = |mode: &WriteMode| match mode {
        WriteMode::Apply => "apply",
        WriteMode::CreateOnly => "create",
        WriteMode::Retain => "keep",
        WriteMode::Patch(_) => "cancel",
    };
    desired.children.iter().map(|c| format!("{} {}", word(&c.mode), c.id.name)).collect()
}

#[test]
fn every_decision() {
    let v1 = valid("v1", 2);
    let now = v1.run_name();
    let none = json!({});
    let asked = json!({"spec": {"status": "Cancelled"}});
    let ours = json!({"metadata": {"annotations": {"elpio.io/superseded-by": "x"}}});
    let (create, keep, apply) = (format!("create {now}"), format!("keep {now}"), "apply f".to_owned());
    let cases: Vec<(&str, Vec<_>, Vec<String>)> = vec![
        ("nothing is there", vec![], vec![create.clone()]),
        ("it is being built", vec![run(&now, 0, "Unknown", &none)], vec![keep.clone()]),
        ("it was built", vec![run(&now, 0, "True", &none)], vec![keep.clone(), apply.clone()]),
        ("it failed", vec![run(&now, 0, "False", &none)], vec![keep.clone()]),
        (
            "it failed and an older one serves",
            vec![run(&now, 0, "False", &none), serving(Some("f-build-old"))],
            vec![keep.clone(), apply.clone()],
        ),
        ("the run was pruned after its success", vec![serving(Some(&now))], vec![apply.clone()]),
        (
            "the run of newer inputs is not there",
            vec![serving(Some("f-build-old"))],
            vec![create.clone(), apply.clone()],
        ),
        (
            "an older one runs",
            vec![run("f-build-old", 5, "Unknown", &none)],
            vec!["cancel f-build-old".into(), create.clone()],
        ),
        (
            "an older one was told to stop",
            vec![run("f-build-old", 5, "Unknown", &asked), run(&now, 0, "Unknown", &none)],
            vec![keep.clone(), "keep f-build-old".into()],
        ),
        ("we had cancelled it when newer inputs came", vec![run(&now, 0, "False", &ours)], vec![]),
        ("its user cancelled it", vec![run(&now, 0, "False", &asked)], vec![keep.clone()]),
        (
            "the service lost its annotation",
            vec![run(&now, 0, "Unknown", &none), serving(None)],
            vec![keep.clone(), "keep f".into()],
        ),
        (
            "no more than keep finished ones stay, the current among them",
            vec![
                run(&now, 9, "True", &none),
                run("f-build-a", 1, "False", &none),
                run("f-build-b", 2, "True", &none),
                run("f-build-c", 3, "True", &none),
            ],
            vec!["keep f-build-a".into(), keep.clone(), apply.clone()],
        ),
        (
            "while the current one runs, keep others stay",
            vec![
                run(&now, 0, "Unknown", &none),
                run("f-build-a", 1, "False", &none),
                run("f-build-b", 2, "True", &none),
                run("f-build-c", 3, "True", &none),
            ],
            vec![keep.clone(), "keep f-build-a".into(), "keep f-build-b".into()],
        ),
    ];
    for (what, live, mut expected) in cases {
        let mut found = planned(&v1, live);
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{what}");
    }
}

#[test]
fn the_image_is_by_the_digest_that_the_run_reported() {
    let v1 = valid("v1", 3);
    let live: LiveChildren =
        [run(&v1.run_name(), 0, "True", &json!({})), serving(Some("f-build-old"))].into();
    assert_eq!(image_to_serve(&v1, &live).unwrap().image.digest.as_deref(), Some(DIGEST));
    let live: LiveChildren =
        [run(&v1.run_name(), 0, "False", &json!({})), serving(Some("f-build-old"))].into();
    assert_eq!(image_to_serve(&v1, &live).unwrap().run, "f-build-old");
}
