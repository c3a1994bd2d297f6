//! `deploy/install.yaml`: its CRDs are the code's, its permissions are what the code asks for, and it runs with them.
//! `tests/chart` renders it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a test has to fail at once, and says what it saw"
)]

mod live;
mod upgrade;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use elpio_operator::{
    api::{self, GROUP},
    foreign::ChildKind,
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Container, PodSpec},
    rbac::v1::{ClusterRole, PolicyRule, Role},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Installed by this name into this namespace.
const NAME: &str = "elpio-operator";
const NAMESPACE: &str = "elpio-system";

fn cluster_name(part: &str) -> String {
    format!("{NAME}.{NAMESPACE}{part}")
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: impl AsRef<Path>) -> String {
    let path = top().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn objects() -> Vec<Value> {
    serde_saphyr::from_multiple(&text("deploy/install.yaml")).unwrap()
}

/// The one object of that kind and name.
fn object<K: DeserializeOwned>(kind: &str, name: &str) -> K {
    let found: Vec<Value> =
        objects().into_iter().filter(|o| o["kind"] == kind && o["metadata"]["name"] == name).collect();
    assert_eq!(found.len(), 1, "{kind} {name}");
    serde_json::from_value(found[0].clone()).unwrap()
}

fn pod() -> PodSpec {
    object::<Deployment>("Deployment", "elpio-operator").spec.unwrap().template.spec.unwrap()
}

fn container() -> Container {
    let containers = pod().containers;
    assert_eq!(containers.len(), 1);
    containers[0].clone()
}

#[test]
fn it_has_every_kind_of_ours_and_the_namespace_before_what_lies_in_it() {
    let objects = objects();
    let named = |kind: &str| {
        objects
            .iter()
            .filter(|o| o["kind"] == kind)
            .map(|o| o["metadata"]["name"].as_str().unwrap().to_owned())
            .collect::<BTreeSet<_>>()
    };
    let own: BTreeSet<String> = api::crds().into_iter().map(|(_, crd)| crd.metadata.name.unwrap()).collect();
    assert_eq!(named("CustomResourceDefinition"), own);
    for (file, _) in api::crds() {
        let crd: Value = serde_saphyr::from_str(&text(format!("deploy/crds/{file}"))).unwrap();
        let name = crd["metadata"]["name"].as_str().unwrap();
        assert_eq!(object::<Value>("CustomResourceDefinition", name)["spec"], crd["spec"], "{name}");
    }
    let namespace = objects.iter().position(|o| o["kind"] == "Namespace").unwrap();
    let first_inside = objects.iter().position(|o| !o["metadata"]["namespace"].is_null()).unwrap();
    assert!(namespace < first_inside);
    for object in &objects {
        assert!(matches!(object["metadata"]["namespace"].as_str(), None | Some(NAMESPACE)), "{object}");
    }
}

#[test]
fn the_image_is_of_this_version() {
    let image = format!("elpio-operator:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(container().image.as_deref(), Some(image.as_str()));
    for page in ["docs/install.md", "deploy/Dockerfile"] {
        assert!(text(page).contains(&image), "{page} does not name {image}");
    }
}

/// Verbs by `resource.group`, with the names that they are restricted to.
type Permissions = BTreeMap<(String, Vec<String>), BTreeSet<String>>;

fn permissions(rules: Option<Vec<PolicyRule>>) -> Permissions {
    let mut permissions = Permissions::new();
    for rule in rules.unwrap_or_default() {
        assert!(rule.non_resource_urls.is_none(), "{rule:?}");
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                let key = (format!("{resource}.{group}"), rule.resource_names.clone().unwrap_or_default());
                permissions.entry(key).or_default().extend(rule.verbs.iter().cloned());
            }
        }
    }
    permissions
}

fn wanted<'a>(all: impl IntoIterator<Item = (String, &'a [&'a str], &'a [&'a str])>) -> Permissions {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    all.into_iter()
        .map(|(resource, names, verbs)| ((resource, owned(names)), owned(verbs).into_iter().collect()))
        .collect()
}

#[test]
fn its_permissions_in_namespaces_are_what_the_code_asks_for_and_no_more() {
    const CHILD: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];
    const WATCHED: &[&str] = &["get", "list", "watch"];
    let verbs = |kind: ChildKind| if kind == ChildKind::TaskRun { WATCHED } else { CHILD };
    let children = ChildKind::ALL
        .iter()
        .map(|kind| (format!("{}.{}", kind.plural(), kind.group()), &[][..], verbs(*kind)));
    let own = api::crds().into_iter().map(|(_, crd)| crd.spec.names.plural).flat_map(|plural| {
        let verbs: [(&str, &[&str]); 3] =
            [("", &["get", "list", "watch"]), ("/status", &["patch"]), ("/finalizers", &["update"])];
        verbs.map(|(sub, verbs)| (format!("{plural}{sub}.{GROUP}"), &[][..], verbs))
    });
    let others: [(String, &[&str], &[&str]); 1] =
        [("events.events.k8s.io".into(), &[], &["create", "get", "list", "patch"])];
    // Children last: an ElpioService is one too, of a function, and needs more than our own kinds do.
    let all = wanted(own.chain(others).chain(children));
    assert_eq!(permissions(object::<ClusterRole>("ClusterRole", &cluster_name("")).rules), all);
}

#[test]
fn its_permissions_elsewhere_are_what_the_code_asks_for_and_no_more() {
    let cluster = wanted([
        ("customresourcedefinitions.apiextensions.k8s.io".into(), &[][..], &["watch"][..]),
        ("namespaces.".into(), &["kube-system"], &["get"]),
    ]);
    assert_eq!(permissions(object::<ClusterRole>("ClusterRole", &cluster_name(".cluster")).rules), cluster);
    let leases = || "leases.coordination.k8s.io".to_owned();
    let election = wanted([(leases(), &[][..], &["create", "get", "update"][..])]);
    assert_eq!(permissions(object::<Role>("Role", "elpio-operator-leader-election").rules), election);
}

#[test]
fn it_runs_under_restricted_pod_security() {
    let pod_context = pod().security_context.unwrap();
    assert_eq!(pod_context.run_as_non_root, Some(true));
    assert_eq!(pod_context.seccomp_profile.unwrap().type_, "RuntimeDefault");
    let context = container().security_context.unwrap();
    assert_eq!(
        (context.allow_privilege_escalation, context.read_only_root_filesystem),
        (Some(false), Some(true))
    );
    assert_eq!(context.capabilities.unwrap().drop, Some(vec!["ALL".to_owned()]));
    let namespace: Value = object("Namespace", "elpio-system");
    assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
}
