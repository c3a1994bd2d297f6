//! The fields kept of an object: tables.
#![allow(clippy::unwrap_used)]

use super::*;

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

/// The object as stored from a watch; the response of a write is stored in the same way.
fn kept(value: Value) -> Value {
    let compact = serde_json::from_str::<CompactObject>(&value.to_string()).unwrap();
    let watched = compact.to_object();
    assert_eq!(compact.to_metadata().metadata, watched.metadata);
    assert_eq!(watched, CompactObject::from(object(value)).to_object());
    serde_json::to_value(watched).unwrap()
}

fn controller(api_version: &str, kind: &str) -> Value {
    json!([{"apiVersion": api_version, "kind": kind, "name": "web", "uid": "owner", "controller": true, "blockOwnerDeletion": true}])
}

fn deployment(owners: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "web", "namespace": "shop", "uid": "1", "resourceVersion": "7", "generation": 2,
            "creationTimestamp": "2026-01-01T00:00:00Z", "selfLink": "/x", "finalizers": ["a/b"],
            "labels": {"elpio.io/service": "web", "team": "x"},
            "annotations": {"elpio.io/applied": "abc", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
            "ownerReferences": owners,
            "managedFields": [{"manager": "elpio", "operation": "Apply", "fieldsV1": {"f:spec": {"f:template": {}}}}],
        },
        "spec": {"template": {"spec": {"containers": [{"name": "web", "image": "a"}]}}},
        "status": {"replicas": 1},
    })
}

#[test]
fn a_child_keeps_all_that_is_compared_and_read() {
    let sent = deployment(&controller("elpio.io/v1alpha1", "ElpioService"));
    let mut expected = sent.clone();
    for (pointer, names) in [
        ("", &["apiVersion", "kind"][..]),
        ("/metadata", &["selfLink", "managedFields"]),
        ("/metadata/annotations", &["kubectl.kubernetes.io/last-applied-configuration"]),
    ] {
        let fields = expected.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
        fields.retain(|name, _| !names.contains(&name.as_str()));
    }
    assert_eq!(kept(sent.clone()), expected);
    let compact = CompactObject::from(object(sent));
    assert_eq!((compact.owner(), compact.key().to_string().as_str()), (Some("owner"), "shop/web"));
    assert_eq!((compact.uid(), compact.resource_version()), (Some("1"), Some(7)));
    // The fields that another manager also owns are needed to remove it.
    let mut shared = deployment(&controller("elpio.io/v1alpha1", "ElpioService"));
    let entries = shared["metadata"]["managedFields"].as_array_mut().unwrap();
    entries.push(
        json!({"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {"f:template": {}}}}),
    );
    assert_eq!(kept(shared)["metadata"]["managedFields"].as_array().unwrap().len(), 2);
}

#[test]
fn of_what_is_not_a_child_only_names_are_kept() {
    for owners in [
        Value::Null,
        controller("serving.knative.dev/v1", "Route"),
        controller("v1", "ElpioService"),
        json!([{"apiVersion": "elpio.io/v1alpha1", "kind": "ElpioService", "name": "web", "uid": "owner"}]),
    ] {
        let kept = kept(deployment(&owners));
        assert_eq!(kept["metadata"]["labels"], json!({"elpio.io/service": "web"}), "{owners}");
        assert_eq!(kept["metadata"]["name"], "web");
        for dropped in ["annotations", "managedFields", "finalizers"] {
            assert_eq!(kept["metadata"].get(dropped), None, "{owners}: {dropped}");
        }
        assert_eq!((kept.get("spec"), kept.get("status")), (None, None), "{owners}");
    }
}

#[test]
fn a_run_keeps_what_its_status_is_computed_from() {
    let long = "ä".repeat(MAX_RUN_TEXT);
    let run = json!({
        "metadata": {"name": "f-1", "annotations": {"elpio.io/build-number": "1"},
            "ownerReferences": controller("elpio.io/v1alpha1", "ElpioFunction")},
        "spec": {"pipelineSpec": {"tasks": [long]}, "params": [{"name": "APP_IMAGE", "value": "a"}], "status": "Cancelled",
            "timeouts": {"pipeline": "1h"}},
        "status": {"conditions": [{"type": "Succeeded", "status": "False", "message": long}], "startTime": "a",
            "completionTime": "b", "results": [{"name": "IMAGE_DIGEST", "value": "c"}], "pipelineSpec": {"tasks": [long]},
            "childReferences": [{"name": "x"}], "provenance": {}},
    });
    let kept_run = kept(run);
    assert_eq!(
        kept_run["spec"],
        json!({"params": [{"name": "APP_IMAGE", "value": "a"}], "status": "Cancelled"})
    );
    let status = kept_run["status"].as_object().unwrap();
    assert_eq!(status.len(), 4, "{status:?}");
    assert_eq!(status["conditions"][0]["message"].as_str().unwrap().len(), MAX_RUN_TEXT);
    assert_eq!(kept_run["metadata"]["annotations"]["elpio.io/build-number"], "1");

    let step = json!({"name": "build", "container": "step-build", "imageID": long,
        "terminated": {"exitCode": 1, "message": "no", "containerID": long, "reason": "Error"}});
    let task = json!({
        "metadata": {"name": "f-1-build", "labels": {"tekton.dev/pipelineTask": "build"},
            "ownerReferences": controller("tekton.dev/v1", "PipelineRun")},
        "spec": {"taskSpec": {"steps": [long]}},
        "status": {"steps": vec![step; 2 * MAX_RUN_ITEMS], "taskSpec": {"steps": [long]}, "podName": "p"},
    });
    let kept_task = kept(task);
    assert_eq!(kept_task["metadata"]["labels"]["tekton.dev/pipelineTask"], "build");
    assert_eq!(kept_task["spec"], json!({}));
    let steps = kept_task["status"]["steps"].as_array().unwrap();
    assert_eq!(steps.len(), MAX_RUN_ITEMS);
    assert_eq!(steps[0], json!({"name": "build", "terminated": {"exitCode": 1, "message": "no"}}));
    assert_eq!(kept_task["status"].as_object().unwrap().len(), 1);
}

#[test]
fn a_write_that_only_the_engine_answers_is_no_change() {
    let known = deployment(&controller("elpio.io/v1alpha1", "ElpioService"));
    let known = CompactObject::from(object(known)).to_object();
    for (parent, name, value, expected) in [
        ("/status", "replicas", json!(2), false),
        ("/metadata", "resourceVersion", json!("8"), false),
        ("/metadata", "managedFields", json!([]), false),
        ("/metadata/annotations", "example.org/stamp", json!("y"), false),
        ("/metadata/annotations", "elpio.io/applied", json!("abd"), true),
        ("/metadata/labels", "team", json!("y"), true),
        ("/spec", "replicas", json!(2), true),
    ] {
        let mut written = deployment(&controller("elpio.io/v1alpha1", "ElpioService"));
        written.pointer_mut(parent).unwrap()[name] = value;
        assert_eq!(has_changed(&known, &object(written)), expected, "{parent} {name}");
    }
}
