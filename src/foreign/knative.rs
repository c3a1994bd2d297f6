//! The fields of Knative Serving's Service and `DomainMapping` that Elpio writes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, LocalObjectReference};
use serde::Serialize;

/// Annotation and label names of Knative.
pub mod name {
    /// The autoscaler of a revision.
    pub const CLASS: &str = "autoscaling.knative.dev/class";
    /// The metric of the autoscaler.
    pub const METRIC: &str = "autoscaling.knative.dev/metric";
    /// The target value per replica.
    pub const TARGET: &str = "autoscaling.knative.dev/target";
    /// Minimum number of replicas.
    pub const MIN_SCALE: &str = "autoscaling.knative.dev/min-scale";
    /// Maximum number of replicas.
    pub const MAX_SCALE: &str = "autoscaling.knative.dev/max-scale";
    /// The label that removes a Service from the public gateway, with the value [`CLUSTER_LOCAL`].
    pub const VISIBILITY: &str = "networking.knative.dev/visibility";
    /// See [`VISIBILITY`].
    pub const CLUSTER_LOCAL: &str = "cluster-local";
    /// Knative's own autoscaler: request-based, can scale to zero.
    pub const KPA: &str = "kpa.autoscaling.knative.dev";
    /// Kubernetes' autoscaler: CPU-based.
    pub const HPA: &str = "hpa.autoscaling.knative.dev";
    /// The name that Knative gives a revision's only container.
    pub const CONTAINER: &str = "user-container";
}

/// The ports that Knative reserves.
/// Source: `reservedPorts` in knative.dev/serving `pkg/apis/serving/k8s_validation.go`.
pub const RESERVED_PORTS: [u16; 6] = [8008, 8012, 8013, 8022, 9090, 9091];

/// The variable with the container's port.
pub const PORT_ENV: &str = "PORT";

/// The variables that Knative reserves. Source: `reservedEnvVars` in the same file.
pub const RESERVED_ENV: [&str; 4] = [PORT_ENV, "K_SERVICE", "K_CONFIGURATION", "K_REVISION"];

/// `spec` of a `serving.knative.dev/v1` Service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServiceSpec {
    /// The next revision.
    pub template: RevisionTemplate,
    /// How requests are split between revisions.
    pub traffic: Vec<TrafficTarget>,
}

/// The next revision.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RevisionTemplate {
    /// Its labels and annotations.
    pub metadata: TemplateMeta,
    /// Its spec.
    pub spec: RevisionSpec,
}

/// Labels and annotations of revisions and their pods.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TemplateMeta {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// The spec of a revision.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionSpec {
    /// The only container.
    pub containers: Vec<Container>,
    /// The service account of the pods.
    pub service_account_name: String,
    /// The Secrets with the pull credentials.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Hard limit on concurrent requests per replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_concurrency: Option<u32>,
}

impl TrafficTarget {
    /// All requests to the latest ready revision: Knative's default, set explicitly so that any other value is drift.
    #[must_use]
    pub fn all_to_latest() -> Self {
        Self { revision_name: None, latest_revision: Some(true), percent: 100, tag: None }
    }
}

/// The share of the requests for one revision.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficTarget {
    /// Name of a revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision_name: Option<String>,
    /// Route to the latest ready revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_revision: Option<bool>,
    /// Percentage of requests.
    pub percent: u32,
    /// Gives the revision its own URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// `spec` of a `serving.knative.dev/v1beta1` `DomainMapping`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct DomainMappingSpec {
    /// The Service that receives the requests.
    #[serde(rename = "ref")]
    pub target: TargetRef,
    /// The certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<SecretTls>,
}

/// The target Service of a domain.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetRef {
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// The Secret with a domain's certificate.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretTls {
    /// Its name.
    pub secret_name: String,
}
