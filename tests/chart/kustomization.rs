//! The kustomization and its components: what kustomize builds is what the chart renders for the values that
//! the component stands for. `UPDATE_GOLDEN=1` writes the components.

use std::collections::BTreeMap;

use elpio_cluster::{components::clients::KUSTOMIZE, process::TempDir};
use serde_json::{Value, json};

use crate::{
    documents,
    generated::{compare, manifest},
    identity, program, top,
};

/// A component, what it is for, and the chart's values for the same.
const COMPONENTS: [(&str, &str, &[&str]); 3] = [
    (
        "namespaced",
        "Only the namespaces team-a and team-b: copy this folder, and put your namespaces in.",
        &["namespaces={team-a,team-b}"],
    ),
    ("ha", "Two replicas, and a budget that keeps one.", &["replicas=2", "podDisruptionBudget.enabled=true"]),
    (
        "monitoring",
        "For the Prometheus Operator and Grafana's sidecar: a PodMonitor, the alerts, the dashboards.",
        &["podMonitor.enabled=true", "prometheusRule.enabled=true", "dashboards.enabled=true"],
    ),
];

fn by_identity(objects: Vec<Value>) -> BTreeMap<String, Value> {
    let mut all: BTreeMap<String, Value> =
        objects.into_iter().map(|object| (identity(&object), object)).collect();
    for object in all.values_mut() {
        // kustomize puts a new variable first; none of the operator's refers to another.
        if let Some(env) = object.pointer_mut("/spec/template/spec/containers/0/env") {
            env.as_array_mut().unwrap().sort_by_key(|variable| variable["name"].to_string());
        }
    }
    all
}

/// What a merge has to set to make `new` of `old`: changed fields, and of lists by name the changed items.
fn difference(old: &Value, new: &Value) -> Value {
    if let (Some(old), Some(new)) = (old.as_object(), new.as_object()) {
        let changed = new.iter().filter(|(key, value)| old.get(*key) != Some(*value));
        let changed = changed
            .map(|(key, value)| (key.clone(), difference(old.get(key).unwrap_or(&Value::Null), value)));
        return Value::Object(changed.collect());
    }
    let named = |value: &Value| {
        value.as_array().is_some_and(|items| items.iter().all(|item| item["name"].is_string()))
    };
    if !(named(old) && named(new)) {
        return new.clone();
    }
    let before = |item: &Value| old.as_array().unwrap().iter().find(|other| other["name"] == item["name"]);
    let changed = new.as_array().unwrap().iter().filter(|item| before(item) != Some(*item));
    let changed = changed.map(|item| {
        let mut part = difference(before(item).unwrap_or(&Value::Null), item);
        part["name"] = item["name"].clone();
        part
    });
    changed.collect()
}

fn head(object: &Value) -> Value {
    let (metadata, namespace) = (&object["metadata"], &object["metadata"]["namespace"]);
    let mut head = json!({"apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": {"name": metadata["name"]}});
    if namespace.is_string() {
        head["metadata"]["namespace"] = namespace.clone();
    }
    head
}

/// The kustomization of a component, its additional objects and its patches.
fn component(about: &str, base: &BTreeMap<String, Value>, wanted: &str) -> [String; 3] {
    let parts: BTreeMap<String, &str> = wanted
        .split("---\n")
        .filter(|part| !part.is_empty())
        .map(|part| (identity(&documents(part)[0]), part))
        .collect();
    let added = parts.iter().filter(|(name, _)| !base.contains_key(*name));
    let added: Vec<String> = added.map(|(_, part)| format!("---\n{part}")).collect();
    let added = added.concat();
    let mut patches = String::new();
    for (name, old) in base {
        let mut patch = head(old);
        match parts.get(name).map(|part| documents(part).remove(0)) {
            Some(new) if by_identity(vec![new.clone()]).values().next() == Some(old) => continue,
            Some(new) => {
                let changes = difference(old, &new);
                patch.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            }
            None => patch["$patch"] = "delete".into(),
        }
        patches.push_str("---\n");
        patches.push_str(&serde_saphyr::to_string(&patch).unwrap());
    }
    let list = |key: &str, file: &str, text: &str| {
        if text.is_empty() { String::new() } else { format!("{key}\n  - {file}\n") }
    };
    let kustomization = format!(
        "# {about}\n# Made of deploy/chart by `UPDATE_GOLDEN=1 cargo test --test chart kustomization`.\n\
         apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n{}{}",
        list("resources:", "added.yaml", &added),
        list("patches:", "path: patches.yaml", &patches)
    );
    [kustomization, added, patches]
}

#[test]
fn kustomize_builds_what_the_chart_renders() {
    let kustomize = program(KUSTOMIZE);
    let deploy = top().join("deploy");
    let base = by_identity(documents(&manifest(&[])));
    let built = by_identity(documents(&kustomize.output(&["build", deploy.to_str().unwrap()], "")));
    assert!(built == base, "deploy/kustomization.yaml differs from the chart");
    for (name, about, sets) in COMPONENTS {
        let wanted = manifest(sets);
        let files = ["kustomization.yaml", "added.yaml", "patches.yaml"];
        for (file, text) in files.iter().zip(component(about, &base, &wanted)) {
            if !text.is_empty() {
                compare(&deploy.join("components").join(name).join(file), &text);
            }
        }
        let overlay = TempDir::new("overlay");
        std::os::unix::fs::symlink(&deploy, overlay.path().join("deploy")).unwrap();
        let kustomization = format!("resources: [deploy]\ncomponents: [deploy/components/{name}]\n");
        std::fs::write(overlay.path().join("kustomization.yaml"), kustomization).unwrap();
        let args = ["build", "--load-restrictor=LoadRestrictionsNone", overlay.path().to_str().unwrap()];
        let built = by_identity(documents(&kustomize.output(&args, "")));
        let wanted = by_identity(documents(&wanted));
        let differ: Vec<&String> =
            wanted.keys().chain(built.keys()).filter(|name| wanted.get(*name) != built.get(*name)).collect();
        assert!(differ.is_empty(), "components/{name} differs from the chart in {differ:?}");
        println!("{name}: {} objects, as the chart renders them for {sets:?}", built.len());
    }
}
