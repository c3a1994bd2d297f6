//! Every permission that the operator's code uses. Pure; `tests/live/check_faults.rs` compares the list with
//! the shipped roles.

use crate::{
    api::{self, Engine, GROUP},
    foreign::{ChildKind, support::ENGINES},
};

/// The verbs for kinds that the operator writes.
const WRITTEN: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];
/// The verbs for kinds that it only watches.
const WATCHED: &[&str] = &["get", "list", "watch"];

/// The scope in which a permission is needed.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum PermissionScope {
    /// Every namespace that the operator watches.
    ServedNamespaces,
    /// The operator's own namespace.
    OwnNamespace,
    /// The whole cluster.
    Cluster,
}

/// The permission to use verbs on a resource.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Permission {
    /// The API group; empty for the core group.
    pub group: String,
    /// The plural, with `/subresource` if any.
    pub resource: String,
    /// The resource name, if the permission is for a single object.
    pub name: Option<&'static str>,
    /// The verbs.
    pub verbs: &'static [&'static str],
    /// The scope.
    pub scope: PermissionScope,
}

/// Permissions that belong together.
#[derive(Clone, Debug)]
pub struct PermissionGroup {
    /// Their purpose, for display.
    pub purpose: String,
    /// The permissions.
    pub permissions: Vec<Permission>,
    /// They matter only if this project is installed; `None`: always.
    pub project: Option<&'static str>,
    /// How the operator works without them; `None`: it cannot.
    pub without: Option<&'static str>,
}

fn permission(group: &str, resource: impl Into<String>, verbs: &'static [&'static str]) -> Permission {
    let scope = PermissionScope::ServedNamespaces;
    Permission { group: group.to_owned(), resource: resource.into(), name: None, verbs, scope }
}

fn of_kind(kind: ChildKind) -> Permission {
    permission(kind.group(), kind.plural(), if kind.is_written() { WRITTEN } else { WATCHED })
}

fn own_kinds() -> Vec<Permission> {
    let plurals = api::crds().into_iter().map(|(_, crd)| crd.spec.names.plural);
    let of_plural = |plural: String| {
        let is_child = plural == ChildKind::ElpioService.plural();
        [
            permission(GROUP, format!("{plural}/status"), &["patch"]),
            permission(GROUP, format!("{plural}/finalizers"), &["update"]),
            permission(GROUP, plural, if is_child { WRITTEN } else { WATCHED }),
        ]
    };
    plurals.flat_map(of_plural).collect()
}

/// Every permission, for an operator with this default engine.
#[must_use]
pub fn permission_groups(engine: Engine) -> Vec<PermissionGroup> {
    let always = |purpose: &str, permissions: Vec<Permission>| PermissionGroup {
        purpose: purpose.to_owned(),
        permissions,
        project: None,
        without: None,
    };
    let mut groups = vec![
        always("ElpioServices, ElpioFunctions", own_kinds()),
        always("Events", vec![permission("events.k8s.io", "events", &["create", "get", "list", "patch"])]),
        always(
            "leader election",
            vec![Permission {
                scope: PermissionScope::OwnNamespace,
                ..permission("coordination.k8s.io", "leases", &["create", "get", "update"])
            }],
        ),
        PermissionGroup {
            without: (engine != Engine::Keda).then_some("services on engine keda report Forbidden"),
            project: Some("KEDA"),
            ..always(
                "Deployments, Services",
                vec![of_kind(ChildKind::Deployment), of_kind(ChildKind::Service)],
            )
        },
    ];
    groups.extend(ENGINES.iter().map(|row| PermissionGroup {
        project: Some(row.project),
        without: (default_project(engine) != row.project).then_some("objects that need it report Forbidden"),
        ..always(row.project, row.kinds.iter().copied().map(of_kind).collect())
    }));
    groups.push(PermissionGroup {
        without: Some("APIs that are installed later are detected within 30 s, not immediately"),
        ..always(
            "CustomResourceDefinitions",
            vec![Permission {
                scope: PermissionScope::Cluster,
                ..permission("apiextensions.k8s.io", "customresourcedefinitions", &["watch"])
            }],
        )
    });
    groups.push(PermissionGroup {
        without: Some("k8s.cluster.uid is missing from telemetry"),
        ..always(
            "the cluster's uid",
            vec![Permission {
                scope: PermissionScope::Cluster,
                name: Some("kube-system"),
                ..permission("", "namespaces", &["get"])
            }],
        )
    });
    groups
}

/// The project that serves objects without an explicit engine.
#[must_use]
pub fn default_project(engine: Engine) -> &'static str {
    match engine {
        Engine::Knative => "Knative Serving",
        Engine::Keda => "KEDA",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_child_is_in_one_group() {
        let groups = permission_groups(Engine::Knative);
        for kind in ChildKind::ALL {
            let count = groups.iter().flat_map(|group| &group.permissions).filter(|permission| {
                (permission.group.as_str(), permission.resource.as_str()) == (kind.group(), kind.plural())
            });
            assert_eq!(count.count(), 1, "{kind:?}");
        }
    }
}
