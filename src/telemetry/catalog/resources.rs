//! The API resources that the operator uses: which ones it watches, under which label, and which paths may be
//! templates. It knows no paths and no client.

use crate::{
    api::{GROUP, VERSION},
    foreign::ChildKind,
    telemetry::catalog::attributes::{Kind, LabelValue},
};

/// The label of `CustomResourceDefinition`.
const CRD: &str = "CustomResourceDefinition";

/// The labels of watched resources: the kind, except `KnativeService` for Knative's Service.
pub static WATCHED: [&str; ChildKind::ALL.len() + Kind::VALUES.len()] = {
    // A function's published service counts as `ElpioService`, which leaves one label for CRDs.
    let mut labels = [CRD; ChildKind::ALL.len() + Kind::VALUES.len()];
    let mut to = 0;
    while to < Kind::VALUES.len() {
        labels[to] = Kind::VALUES[to];
        to += 1;
    }
    let mut from = 0;
    while from < ChildKind::ALL.len() {
        if !matches!(ChildKind::ALL[from], ChildKind::ElpioService) {
            labels[to] = ChildKind::ALL[from].label();
            to += 1;
        }
        from += 1;
    }
    labels
};

/// An API resource that the operator uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::telemetry) struct KnownResource {
    /// The versions it uses.
    pub(in crate::telemetry) versions: &'static [&'static str],
    /// The label, if the resource is watched.
    pub(in crate::telemetry) watched: Option<&'static str>,
}

/// Resources that are neither children nor Elpio's kinds: group, plural, version.
const OTHERS: &[(&str, &str, &[&str])] = &[
    ("", "namespaces", &["v1"]),
    ("", "pods", &["v1"]),
    ("coordination.k8s.io", "leases", &["v1"]),
    ("events.k8s.io", "events", &["v1"]),
    ("serving.knative.dev", "routes", &["v1"]),
];

/// The API resource with this group and plural; `None` if the operator does not use it.
pub(in crate::telemetry) fn find(group: &str, plural: &str) -> Option<KnownResource> {
    let child = ChildKind::ALL.into_iter().find(|kind| kind.group() == group && kind.plural() == plural);
    if let Some(kind) = child {
        return Some(KnownResource { versions: kind.versions(), watched: Some(kind.label()) });
    }
    let own =
        Kind::VALUES.iter().find(|kind| group == GROUP && format!("{}s", kind.to_lowercase()) == plural);
    if let Some(kind) = own {
        return Some(KnownResource { versions: &[VERSION], watched: Some(kind) });
    }
    if (group, plural) == ("apiextensions.k8s.io", "customresourcedefinitions") {
        return Some(KnownResource { versions: &["v1"], watched: Some(CRD) });
    }
    let other = OTHERS.iter().find(|(g, p, _)| (*g, *p) == (group, plural));
    other.map(|(_, _, versions)| KnownResource { versions, watched: None })
}

/// The versions of a group that the operator uses; empty for other groups.
pub(in crate::telemetry) fn versions(group: &str) -> Vec<&'static str> {
    let children = ChildKind::ALL.into_iter().filter(|kind| kind.group() == group);
    let others = OTHERS.iter().filter(|(other, ..)| *other == group).map(|(.., versions)| *versions);
    let own = (group == "apiextensions.k8s.io").then_some(&["v1"][..]);
    children.map(ChildKind::versions).chain(others).chain(own).flatten().copied().collect()
}

/// A label of [`WATCHED`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::telemetry) struct WatchedResource(&'static str);

impl WatchedResource {
    pub(in crate::telemetry) fn as_str(self) -> &'static str {
        self.0
    }
}

impl From<WatchedResource> for LabelValue {
    fn from(resource: WatchedResource) -> Self {
        Self::from_table(resource.0)
    }
}

/// The watched resource with this label.
pub(in crate::telemetry) fn watched(label: &str) -> Option<WatchedResource> {
    WATCHED.iter().find(|known| **known == label).map(|known| WatchedResource(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_distinguished_by_group() {
        let label = |group, plural| find(group, plural).and_then(|resource| resource.watched);
        assert_eq!(label("", "services"), Some("Service"));
        assert_eq!(label("serving.knative.dev", "services"), Some("KnativeService"));
        assert_eq!(label("example.com", "services"), None);
        assert_eq!(label("coordination.k8s.io", "leases"), None);
    }

    #[test]
    fn every_label_belongs_to_one_resource() {
        let mut found: Vec<&str> = ChildKind::ALL
            .into_iter()
            .map(|kind| (kind.group(), kind.plural()))
            .chain([("elpio.io", "elpiofunctions"), ("apiextensions.k8s.io", "customresourcedefinitions")])
            .filter_map(|(group, plural)| find(group, plural)?.watched)
            .collect();
        let mut labels = WATCHED.to_vec();
        found.sort_unstable();
        labels.sort_unstable();
        assert_eq!(found, labels);
    }
}
