//! What can be wrong with an installation, each with the row of `check` that has to find it, and the permissions
//! that are shipped against those that it asks for.

use std::collections::BTreeSet;

use elpio_operator::{
    api::Engine,
    check::permissions::{PermissionScope, permission_groups},
};
use serde_json::{Value, json};

use crate::check::shipped;

/// A change to an object of the cluster.
pub struct Fault {
    pub row: &'static str,
    pub api_version: &'static str,
    pub kind: &'static str,
    pub namespace: Option<&'static str>,
    pub name: &'static str,
    pub change: fn(&mut Value),
}

fn crd(row: &'static str, name: &'static str, change: fn(&mut Value)) -> Fault {
    let (api_version, kind) = ("apiextensions.k8s.io/v1", "CustomResourceDefinition");
    Fault { row, api_version, kind, namespace: None, name, change }
}

fn role(row: &'static str, change: fn(&mut Value)) -> Fault {
    let (api_version, kind) = ("rbac.authorization.k8s.io/v1", "ClusterRole");
    Fault { row, api_version, kind, namespace: None, name: "elpio-operator.elpio-system", change }
}

fn lease(change: fn(&mut Value)) -> Fault {
    let (api_version, kind) = ("coordination.k8s.io/v1", "Lease");
    Fault { row: "Lease", api_version, kind, namespace: Some("elpio-system"), name: "elpio-operator", change }
}

fn not_served(crd: &mut Value) {
    for version in crd["spec"]["versions"].as_array_mut().unwrap() {
        version["served"] = json!(false);
    }
}

/// Takes a verb from the rules about a resource.
fn without(role: &mut Value, resource: &str, verb: &str) {
    for rule in role["rules"].as_array_mut().unwrap() {
        let names = rule["resources"].as_array().unwrap();
        if names.iter().any(|name| name == resource) {
            // A rule has at least one verb.
            let known = rule["verbs"].as_array_mut().unwrap().iter_mut().filter(|known| *known == verb);
            known.for_each(|known| *known = json!("approve"));
        }
    }
}

/// Every fault that an edit of one object makes.
pub fn faults() -> Vec<Fault> {
    vec![
        crd("CRD elpioservices", "elpioservices.elpio.io", |crd| {
            let schema = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            schema["properties"]["spec"]["properties"]["port"]["description"] = json!("Another.");
        }),
        crd("CRD elpiofunctions", "elpiofunctions.elpio.io", not_served),
        crd("Knative Serving", "services.serving.knative.dev", not_served),
        crd("KEDA", "scaledobjects.keda.sh", not_served),
        crd("Tekton Pipelines", "pipelineruns.tekton.dev", |crd| {
            crd["metadata"]["labels"]["pipeline.tekton.dev/release"] = json!("v0.44.0");
            crd["metadata"]["labels"]["app.kubernetes.io/version"] = json!("v0.44.0");
        }),
        crd("cert-manager", "certificates.cert-manager.io", not_served),
        crd("External Secrets", "externalsecrets.external-secrets.io", not_served),
        role("permissions: ElpioServices, ElpioFunctions", |role| {
            without(role, "elpiofunctions/status", "patch");
        }),
        role("permissions: Events", |role| without(role, "events", "create")),
        role("permissions: Deployments, Services", |role| without(role, "deployments", "delete")),
        role("permissions: KEDA", |role| without(role, "scaledobjects", "watch")),
        role("permissions: Tekton Pipelines", |role| without(role, "taskruns", "list")),
        role("permissions: cert-manager", |role| without(role, "certificates", "patch")),
        Fault {
            api_version: "rbac.authorization.k8s.io/v1",
            kind: "Role",
            name: "elpio-operator-leader-election",
            row: "permissions: leader election",
            ..lease(|role| without(role, "leases", "update"))
        },
        lease(|lease| lease["spec"]["renewTime"] = json!("2026-01-01T00:00:00.000000Z")),
        lease(|lease| lease["spec"]["holderIdentity"] = json!("")),
    ]
}

/// `VERB resource.group name`, of rules.
fn of_rules(rules: &Value) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let list = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
    };
    for rule in rules.as_array().unwrap() {
        let names = list(&rule["resourceNames"]);
        let name = names.first().cloned().unwrap_or_default();
        for group in list(&rule["apiGroups"]) {
            for resource in list(&rule["resources"]) {
                for verb in list(&rule["verbs"]) {
                    all.insert(format!("{verb} {resource}.{group} {name}"));
                }
            }
        }
    }
    all
}

#[test]
fn the_permissions_that_check_asks_for_are_those_that_are_shipped() {
    let asked = |scope: PermissionScope| -> BTreeSet<String> {
        let groups = permission_groups(Engine::Knative);
        let permissions = groups.iter().flat_map(|group| &group.permissions).filter(|one| one.scope == scope);
        permissions
            .flat_map(|one| {
                let name = one.name.unwrap_or_default();
                one.verbs.iter().map(move |verb| format!("{verb} {}.{} {name}", one.resource, one.group))
            })
            .collect()
    };
    for (role, scope) in [
        ("elpio-operator.elpio-system", PermissionScope::ServedNamespaces),
        ("elpio-operator.elpio-system.cluster", PermissionScope::Cluster),
        ("elpio-operator-leader-election", PermissionScope::OwnNamespace),
    ] {
        let is_role = |object: &&Value| object["metadata"]["name"] == role && !object["rules"].is_null();
        let shipped = shipped();
        assert_eq!(of_rules(&shipped.iter().find(is_role).unwrap()["rules"]), asked(scope), "{role}");
    }
}
