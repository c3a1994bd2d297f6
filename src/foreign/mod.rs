//! Other projects' kinds: their names, and the few fields that Elpio writes. It imports nothing else from
//! this crate and does no I/O.

pub mod cert_manager;
pub mod external_secrets;
pub mod fields;
pub mod keda;
pub mod knative;
pub mod support;
pub mod tekton;

use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::Value;

/// A condition in a child's status.
#[must_use]
pub fn condition<'a>(child: &'a DynamicObject, kind: &str) -> Option<&'a Value> {
    newest_condition(&child.data, kind)
}

/// A condition of an object. If an add-on repeats a type, the newest one counts: the latest
/// `lastTransitionTime`, or the last in the list among equal times.
#[must_use]
pub fn newest_condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let of_kind = fields::list(object, "/status/conditions").filter(|c| c["type"].as_str() == Some(kind));
    of_kind.max_by_key(|c| fields::time(c, "/lastTransitionTime"))
}

/// A resource as client-go's `GroupResource` prints it: `deployments.apps`, or `services` in the core group.
#[must_use]
pub fn group_resource(plural: &str, group: &str) -> String {
    if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
}

/// The kinds of children that Elpio creates for an owner.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ChildKind {
    /// `external-secrets.io` `ExternalSecret`.
    ExternalSecret,
    /// `cert-manager.io` Certificate.
    Certificate,
    /// `serving.knative.dev` Service.
    KnativeService,
    /// `serving.knative.dev` `DomainMapping`.
    DomainMapping,
    /// `apps` Deployment.
    Deployment,
    /// Kubernetes' own Service.
    Service,
    /// `http.keda.sh` `HTTPScaledObject`.
    HttpScaledObject,
    /// `keda.sh` `ScaledObject`.
    ScaledObject,
    /// `tekton.dev` `PipelineRun`.
    PipelineRun,
    /// `tekton.dev` `TaskRun`: created by Tekton for a `PipelineRun`; watched but never written.
    TaskRun,
    /// The service that a function publishes.
    ElpioService,
}

/// The constants of one kind.
struct KindFacts {
    kind: &'static str,
    label: &'static str,
    display: &'static str,
    project: &'static str,
    group: &'static str,
    plural: &'static str,
    versions: &'static [&'static str],
    built_in: bool,
}

/// The constants of a CRD whose label and display name are its kind.
const fn facts(
    kind: &'static str,
    project: &'static str,
    group: &'static str,
    plural: &'static str,
    versions: &'static [&'static str],
) -> KindFacts {
    KindFacts { kind, label: kind, display: kind, project, group, plural, versions, built_in: false }
}

impl ChildKind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::ExternalSecret,
        Self::Certificate,
        Self::KnativeService,
        Self::DomainMapping,
        Self::Deployment,
        Self::Service,
        Self::HttpScaledObject,
        Self::ScaledObject,
        Self::PipelineRun,
        Self::TaskRun,
        Self::ElpioService,
    ];

    /// The kind in Kubernetes: `Service` for both Knative's and Kubernetes' own.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        self.facts().kind
    }

    /// A unique name for metrics: the kind, except `KnativeService` for Knative's Service.
    #[must_use]
    pub const fn label(self) -> &'static str {
        self.facts().label
    }

    /// The name for display: `Knative Service`.
    #[must_use]
    pub fn display(self) -> &'static str {
        self.facts().display
    }

    /// The project that provides the kind, for display: `Knative Serving`.
    #[must_use]
    pub fn project(self) -> &'static str {
        self.facts().project
    }

    /// The API group, empty for the core group.
    #[must_use]
    pub const fn group(self) -> &'static str {
        self.facts().group
    }

    /// The plural in URLs.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        self.facts().plural
    }

    /// The versions that Elpio can write, preferred version first; the fields that Elpio writes are the same
    /// in all of them.
    #[must_use]
    pub const fn versions(self) -> &'static [&'static str] {
        self.facts().versions
    }

    /// The preferred version.
    #[must_use]
    pub fn version(self) -> &'static str {
        self.versions().first().copied().unwrap_or_default()
    }

    /// `apiVersion` at the preferred version.
    #[must_use]
    pub fn api_version(self) -> String {
        self.api_version_at(self.version())
    }

    /// `apiVersion` at a version.
    #[must_use]
    pub fn api_version_at(self, version: &str) -> String {
        match self.group() {
            "" => version.to_owned(),
            group => format!("{group}/{version}"),
        }
    }

    /// The name of its `CustomResourceDefinition`; `None` for a built-in kind.
    #[must_use]
    pub fn crd(self) -> Option<String> {
        (!self.facts().built_in).then(|| self.group_resource())
    }

    /// The resource with its group, as in error messages.
    #[must_use]
    pub fn group_resource(self) -> String {
        group_resource(self.plural(), self.group())
    }

    /// The resource for kube's dynamic API, at a version.
    #[must_use]
    pub fn api_resource(self, version: &str) -> ApiResource {
        ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk(self.group(), version, self.kind()),
            self.plural(),
        )
    }

    /// Whether it belongs to an `ElpioFunction`; all other kinds belong to an `ElpioService`.
    #[must_use]
    pub const fn is_of_function(self) -> bool {
        matches!(self, Self::PipelineRun | Self::TaskRun | Self::ElpioService)
    }

    /// Whether Elpio writes objects of this kind; it only watches the others.
    #[must_use]
    pub const fn is_written(self) -> bool {
        !matches!(self, Self::TaskRun)
    }

    const fn facts(self) -> KindFacts {
        match self {
            Self::ExternalSecret => facts(
                "ExternalSecret",
                "External Secrets Operator",
                "external-secrets.io",
                "externalsecrets",
                &["v1", "v1beta1"],
            ),
            Self::Certificate => {
                facts("Certificate", "cert-manager", "cert-manager.io", "certificates", &["v1"])
            }
            Self::KnativeService => KindFacts {
                label: "KnativeService",
                display: "Knative Service",
                ..facts("Service", "Knative Serving", "serving.knative.dev", "services", &["v1"])
            },
            Self::DomainMapping => facts(
                "DomainMapping",
                "Knative Serving",
                "serving.knative.dev",
                "domainmappings",
                &["v1beta1"],
            ),
            Self::Deployment => KindFacts {
                built_in: true,
                ..facts("Deployment", "Kubernetes", "apps", "deployments", &["v1"])
            },
            Self::Service => {
                KindFacts { built_in: true, ..facts("Service", "Kubernetes", "", "services", &["v1"]) }
            }
            Self::HttpScaledObject => facts(
                "HTTPScaledObject",
                "the KEDA HTTP add-on",
                "http.keda.sh",
                "httpscaledobjects",
                &["v1alpha1"],
            ),
            Self::ScaledObject => facts("ScaledObject", "KEDA", "keda.sh", "scaledobjects", &["v1alpha1"]),
            Self::PipelineRun => {
                facts("PipelineRun", "Tekton Pipelines", "tekton.dev", "pipelineruns", &["v1"])
            }
            Self::TaskRun => facts("TaskRun", "Tekton Pipelines", "tekton.dev", "taskruns", &["v1"]),
            Self::ElpioService => facts("ElpioService", "Elpio", "elpio.io", "elpioservices", &["v1alpha1"]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::{ChildKind, condition};

    #[test]
    fn labels_and_displays_are_unique() {
        let unique = |name: fn(ChildKind) -> &'static str| {
            ChildKind::ALL.map(name).into_iter().collect::<BTreeSet<_>>().len()
        };
        assert_eq!(unique(ChildKind::label), ChildKind::ALL.len());
        assert_eq!(unique(ChildKind::display), ChildKind::ALL.len());
    }

    /// Up to version 0.11, the HTTP add-on appends a condition with the same type at each step.
    #[test]
    #[allow(clippy::expect_used)]
    fn the_newest_condition_of_a_type_counts() {
        let newest = |conditions: serde_json::Value| {
            let child = serde_json::from_value(json!({"metadata": {}, "status": {"conditions": conditions}}))
                .expect("an object");
            condition(&child, "Ready").map(|c| c["reason"].as_str().unwrap_or_default().to_owned())
        };
        let ready = |reason: &str, at: Option<&str>| json!({"type": "Ready", "reason": reason, "lastTransitionTime": at});
        let (early, late) = (Some("2026-01-01T00:00:00Z"), Some("2026-01-01T00:00:01Z"));
        for (conditions, expected) in [
            (json!([]), None),
            (json!([{"type": "Other", "reason": "x"}]), None),
            (json!([ready("a", early), ready("b", early), ready("c", early)]), Some("c")),
            (json!([ready("a", None), ready("b", None)]), Some("b")),
            (json!([ready("a", late), ready("b", early)]), Some("a")),
            (json!([ready("a", early), ready("b", None)]), Some("a")),
            (json!([ready("a", Some("soon")), ready("b", None)]), Some("b")),
        ] {
            assert_eq!(newest(conditions.clone()).as_deref(), expected, "{conditions}");
        }
    }

    #[test]
    fn names_are_those_of_the_projects() {
        assert_eq!(ChildKind::Service.api_version(), "v1");
        assert_eq!(ChildKind::Deployment.crd(), None);
        assert_eq!(ChildKind::DomainMapping.api_version(), "serving.knative.dev/v1beta1");
        assert_eq!(ChildKind::HttpScaledObject.crd().as_deref(), Some("httpscaledobjects.http.keda.sh"));
        let resource = ChildKind::ExternalSecret.api_resource("v1beta1");
        assert_eq!(
            (resource.api_version.as_str(), resource.plural.as_str()),
            ("external-secrets.io/v1beta1", "externalsecrets")
        );
    }
}
