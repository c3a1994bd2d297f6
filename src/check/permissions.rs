//! Every permission that the operator's code uses, as a list. Pure; `tests/live/check_faults.rs` compares it with
//! the roles that are shipped.

use crate::{
    api::{self, Engine, GROUP},
    foreign::{ChildKind, support::ENGINES},
};

/// The verbs for a kind that is written.
const WRITTEN: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];
/// The verbs for a kind that is only followed.
const WATCHED: &[&str] = &["get", "list", "watch"];

/// Where a permission is needed.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum PermissionScope {
    /// In every namespace that is served.
    ServedNamespaces,
    /// In the operator's own namespace.
    OwnNamespace,
    /// For the whole cluster.
    Cluster,
}

/// Verbs on one resource.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Permission {
    /// The API group; empty for the core group.
    pub group: String,
    /// The plural, with `/subresource` where there is one.
    pub resource: String,
    /// The one object that it is about, where it is only one.
    pub name: Option<&'static str>,
    /// The verbs.
    pub verbs: &'static [&'static str],
    /// Where.
    pub scope: PermissionScope,
}

/// Permissions that are needed together.
#[derive(Clone, Debug)]
pub struct PermissionGroup {
    /// What for, for people.
    pub purpose: String,
    /// The permissions.
    pub permissions: Vec<Permission>,
    /// The project that has to be installed for them to count; `None`: always needed.
    pub project: Option<&'static str>,
    /// What the operator does without them; `None`: it cannot do without.
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
        without: Some("APIs that are installed later are noticed within 30 s, not at once"),
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

/// The project that serves objects which name no engine.
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
