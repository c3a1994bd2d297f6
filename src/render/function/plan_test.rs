//! The decisions about a function's runs and its service, by children and status: a table.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::{
    api::{BuildOutcome, BuildStatus, ServedBuild, label},
    render::function::testing::{self, DIGEST, function, now, run, serving, status},
};

const OWNER: Owner<'static> = Owner {
    api_version: "elpio.io/v1alpha1",
    kind: "ElpioFunction",
    namespace: "ns",
    name: "f",
    uid: "u",
    label: (label::FUNCTION, "f"),
    build: None,
};

type Live = Vec<(ChildId, Arc<DynamicObject>)>;

fn planned(valid: &ValidFunction, previous: Option<&ElpioFunctionStatus>, live: Live) -> Desired {
    let live = live.into_iter().collect();
    let traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    plan(&OWNER, valid, previous, &live, traceparent, &Defaults::default(), now())
}

/// The desired children as `mode name`, sorted.
fn listed(desired: &Desired) -> Vec<String> {
    let word = |mode: &WriteMode| match mode {
        WriteMode::Apply => "apply",
        WriteMode::CreateOnly => "create",
        WriteMode::Retain => "keep",
        WriteMode::Patch(patch) if patch.pointer("/spec/status").is_some() => "cancel",
        WriteMode::Patch(_) => "label",
    };
    let mut children: Vec<_> =
        desired.children.iter().map(|c| format!("{} {}", word(&c.mode), c.id.name)).collect();
    children.sort();
    children
}

/// The status after the first build of `f` with this result.
fn built(valid: &ValidFunction, result: Option<BuildOutcome>) -> ElpioFunctionStatus {
    let first = valid.first_build();
    let served = ServedBuild {
        build: "f-build-old".to_owned(),
        repository: "example.com/f".to_owned(),
        tag: None,
        digest: Some(DIGEST.to_owned()),
    };
    let last = BuildStatus { result, started_at: Some(testing::at(-600)), ..first };
    ElpioFunctionStatus { served: Some(served), ..status(Some(last)) }
}

#[test]
fn every_decision() {
    let v1 = function("v1", 2);
    let name = v1.first_build().name;
    let v2 = function("v2", 2);
    let second = v2.run_name(2, None);
    let none = json!({});
    let labels = json!({"metadata": {"labels": {"elpio.io/function": "other"}}});
    let stopping = json!({"spec": {"status": "Cancelled"}});
    let queued = json!({"spec": {"status": "PipelineRunPending"}});
    let deleting = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a/b"]}});
    let (create, keep, apply) = (format!("create {name}"), format!("keep {name}"), "apply f".to_owned());
    let begun = built(&v1, None);
    let (good, bad) = (built(&v1, Some(BuildOutcome::Succeeded)), built(&v1, Some(BuildOutcome::Failed)));
    let nothing = status(None);
    let replaced = |word: &str| vec![apply.clone(), format!("create {second}"), format!("{word} {name}")];
    let old = |name: &str, age: i64, succeeded: &str| run(name, age, succeeded, &none);
    let finished = || vec![old("a", 10, "False"), old("b", 20, "True"), old("c", 30, "True")];
    let with = |first: (ChildId, Arc<DynamicObject>), mut more: Live| {
        more.insert(0, first);
        more
    };
    let cases: Vec<(&str, &ValidFunction, &ElpioFunctionStatus, Live, Vec<String>)> = vec![
        ("nothing is there", &v1, &nothing, vec![], vec![create.clone()]),
        ("it runs", &v1, &begun, vec![old(&name, 9, "Unknown")], vec![apply.clone(), keep.clone()]),
        ("it succeeded", &v1, &begun, vec![old(&name, 9, "True")], vec![apply.clone(), keep.clone()]),
        ("it failed", &v1, &begun, vec![old(&name, 9, "False")], vec![apply.clone(), keep.clone()]),
        ("its run was pruned after its success", &v1, &good, vec![], vec![apply.clone()]),
        ("its run was deleted after its failure", &v1, &bad, vec![], vec![apply.clone()]),
        ("its run was deleted before its end", &v1, &begun, vec![], vec![apply.clone(), create]),
        (
            "its run is being deleted before its end",
            &v1,
            &begun,
            vec![run(&name, 9, "Unknown", &deleting)],
            vec![apply.clone(), keep.clone()],
        ),
        ("newer inputs", &v2, &begun, vec![old(&name, 9, "Unknown")], replaced("cancel")),
        (
            "newer inputs, it is queued",
            &v2,
            &begun,
            vec![run(&name, 9, "Unknown", &queued)],
            replaced("cancel"),
        ),
        (
            "newer inputs, it is stopping",
            &v2,
            &begun,
            vec![run(&name, 9, "Unknown", &stopping)],
            replaced("keep"),
        ),
        (
            "newer inputs, it is being deleted",
            &v2,
            &begun,
            vec![run(&name, 9, "", &deleting)],
            replaced("keep"),
        ),
        (
            "newer inputs, it lost its labels",
            &v2,
            &begun,
            vec![run(&name, 9, "Unknown", &labels)],
            replaced("cancel"),
        ),
        (
            "its labels were changed",
            &v1,
            &good,
            vec![run(&name, 9, "True", &labels)],
            vec![apply.clone(), format!("label {name}")],
        ),
        (
            "a service whose annotation was removed, of a function without memory",
            &v1,
            &nothing,
            vec![old(&name, 9, "Unknown"), serving(None)],
            vec!["keep f".to_owned(), keep.clone()],
        ),
        (
            "no more than keep finished ones stay, the current among them",
            &v1,
            &good,
            with(old(&name, 99, "True"), finished()),
            vec![apply.clone(), "keep a".to_owned(), keep.clone()],
        ),
        (
            "while the current one runs, keep others stay",
            &v1,
            &begun,
            with(old(&name, 0, "Unknown"), finished()),
            vec![apply.clone(), "keep a".to_owned(), "keep b".to_owned(), keep],
        ),
    ];
    for (what, valid, previous, live, mut expected) in cases {
        expected.sort();
        assert_eq!(listed(&planned(valid, Some(previous), live)), expected, "{what}");
    }
}

#[test]
fn a_superseded_run_gets_its_labels_back_and_learns_by_what() {
    let v2 = function("v2", 3);
    let name = function("v1", 3).first_build().name;
    let live = vec![run(&name, 9, "Unknown", &json!({"metadata": {"labels": {"elpio.io/function": null}}}))];
    let desired = planned(&v2, Some(&built(&function("v1", 3), None)), live);
    let patch = desired.children.iter().find_map(|child| match &child.mode {
        WriteMode::Patch(patch) => Some(patch.clone()),
        _ => None,
    });
    let expected = json!({
        "metadata": {
            "labels": {
                "app.kubernetes.io/managed-by": "elpio",
                "app.kubernetes.io/name": "f",
                "app.kubernetes.io/instance": "f",
                "app.kubernetes.io/part-of": "elpio",
                "elpio.io/function": "f",
            },
            "annotations": {"elpio.io/superseded-by": v2.run_name(2, None)},
        },
        "spec": {"status": "Cancelled"},
    });
    assert_eq!(patch, Some(expected));
}

#[test]
fn an_edit_of_the_published_image_is_drift() {
    let v1 = function("v1", 3);
    let image = |live: Live| {
        let desired = planned(&v1, Some(&built(&v1, Some(BuildOutcome::Failed))), live);
        desired.children.iter().find(|child| child.id.name == "f").unwrap().body()["spec"]["image"].clone()
    };
    let expected = json!({"repository": "example.com/f", "digest": DIGEST});
    assert_eq!(image(vec![serving(Some("f-build-old"))]), expected, "the live service has sha256:old");
    assert_eq!(image(vec![]), expected, "also when it was deleted");
}
