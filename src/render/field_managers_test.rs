//! Field sets as the API server writes them, and the dropped fields that remain.
#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

use serde_json::json;

use super::*;

fn entry(manager: &str, operation: &str, subresource: &str, fields: Value) -> ManagedFieldsEntry {
    let entry = json!({"manager": manager, "operation": operation, "subresource": subresource,
        "fieldsType": "FieldsV1", "fieldsV1": fields});
    serde_json::from_value(entry).unwrap()
}

/// A field set with these variables and, if `label`, the label `a`.
fn set(variables: &[&str], label: bool) -> Value {
    let mut env = Map::from_iter([(".".to_owned(), json!({}))]);
    for name in variables {
        env.insert(format!("k:{{\"name\":\"{name}\"}}"), json!({".": {}, "f:name": {}, "f:value": {}}));
    }
    let mut set =
        json!({"f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {".": {}, "f:name": {}, "f:env": env}}}});
    if label {
        set["f:metadata"] = json!({"f:labels": {"f:a/b": {}}});
    }
    set
}

#[test]
fn entries_are_kept_only_where_another_manager_holds_an_applied_field() {
    let own = || entry("elpio", "Apply", "", set(&["A"], false));
    for (other, kept) in [
        (entry("kubectl", "Update", "", set(&["A"], false)), true),
        (entry("kubectl", "Update", "", json!({"f:spec": {"f:replicas": {}}})), false),
        (entry("kube-controller-manager", "Update", "status", set(&["A"], false)), false),
        (entry("elpio", "Update", "", set(&["A"], false)), false),
    ] {
        let mut entries = vec![own(), other.clone()];
        retain_shared(&mut entries);
        assert_eq!(!entries.is_empty(), kept, "{other:?}");
    }
    let mut theirs = vec![entry("kubectl", "Apply", "", set(&["A"], false))];
    retain_shared(&mut theirs);
    assert!(theirs.is_empty(), "an object that Elpio does not apply");
}

#[test]
fn dropped_fields_that_others_hold_are_found_and_removed() {
    let before = [entry("elpio", "Apply", "", set(&["A", "B", "C", "D"], true))];
    let after = [
        entry("elpio", "Apply", "", set(&["A"], false)),
        entry("kubectl", "Update", "", set(&["A", "B", "C", "X"], true)),
    ];
    let names = ["X", "A", "B", "C", "D"].map(|name| json!({"name": name, "value": "1"}));
    let live = json!({"metadata": {"labels": {"a/b": "1"}}, "spec": {"containers": [{"name": "proxy"}, {"name": "web", "env": names}]}});
    let held = co_owned(&before, &after, &live);
    let paths: Vec<&str> = held.iter().map(|field| field.path.as_str()).collect();
    let env = "spec.containers[web].env";
    assert_eq!(paths, ["metadata.labels.a/b", &format!("{env}[B]"), &format!("{env}[C]")], "D is a default");
    assert!(held.iter().all(|field| field.managers == ["kubectl"]));
    assert_eq!(
        removal(&held, "7"),
        json!([
            {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
            {"op": "remove", "path": "/spec/containers/1/env/3"},
            {"op": "remove", "path": "/spec/containers/1/env/2"},
            {"op": "remove", "path": "/metadata/labels/a~1b"},
        ])
    );
    let removed = json!({"metadata": {}, "spec": {"containers": [{"name": "web", "env": [{"name": "A"}]}]}});
    assert_eq!(co_owned(&before, &after, &removed), []);
    assert_eq!(co_owned(&before, &[before[0].clone(), after[1].clone()], &live), [], "nothing was dropped");
}
