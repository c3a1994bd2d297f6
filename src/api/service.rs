//! The kind `ElpioService`: run this image, scale it, also to zero. Types and schema; the rules that only the
//! operator can know stand in `render`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{
    attribute_values::attribute_values,
    cel::{self, rule},
    engine::Engine,
    network::{Ingress, Scaling},
    pattern::{DATA_KEY, DURATION, IMAGE_DIGEST, IMAGE_TAG, LABEL, OPTIONAL_SUBDOMAIN, SUBDOMAIN},
    pod::{EnvFrom, EnvVar, ReadinessProbe, Resources},
    status::{ChildStatus, RolloutStatus, StatusParts},
};

/// What to run, and how to scale and reach it.
#[derive(Clone, CustomResource, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "elpio.io",
    version = "v1alpha1",
    kind = "ElpioService",
    plural = "elpioservices",
    singular = "elpioservice",
    shortname = "esvc",
    category = "elpio",
    namespaced,
    status = "ElpioServiceStatus",
    derive = "PartialEq",
    doc = "A container that scales with its load, also to zero, on an engine that the cluster has.",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Engine","type":"string","jsonPath":".status.engine"}"#,
    printcolumn = r#"{"name":"URL","type":"string","jsonPath":".status.url"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    validation = Rule::new("size(self.metadata.name) <= 63 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be a DNS-1035 label of at most 63 characters"),
    validation = Rule::new("!has(self.spec.externalSecrets) || !self.spec.ingress.tls || !((self.metadata.name + '-tls') in self.spec.externalSecrets.map(s, has(s.secretName) ? s.secretName : s.name))")
        .message("externalSecrets: the Secret NAME-tls is the certificate's where ingress.tls is set")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    cel::knative_port(),
    cel::knative_env(),
    cel::keda_cpu(),
    cel::keda_traffic(),
]))]
pub struct ElpioServiceSpec {
    /// The image to run.
    pub image: Image,
    /// Which engine serves; default: the operator's `ELPIO_ENGINE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<Engine>,
    /// The port that the container listens on.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Environment variables, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 500))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<EnvVar>,
    /// Secrets and `ConfigMaps` as environment variables, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub env_from: Vec<EnvFrom>,
    /// Secrets that the External Secrets Operator fetches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"],
        "x-kubernetes-validations" = [rule(
            "self.all(s, self.exists_one(o, (has(o.secretName) ? o.secretName : o.name) == (has(s.secretName) ? s.secretName : s.name)))",
            "externalSecrets: two of them must not write one Secret",
        )]))]
    pub external_secrets: Vec<ExternalSecret>,
    /// Compute resources of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// How to find out whether the container can serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness_probe: Option<ReadinessProbe>,
    /// How many replicas run.
    #[serde(default)]
    pub scaling: Scaling,
    /// How the service is reached.
    #[serde(default)]
    pub ingress: Ingress,
    /// The service account of the pods; default: `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = OPTIONAL_SUBDOMAIN))]
    pub service_account: Option<String>,
    /// Names of the Secrets with the credentials to pull the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), inner(length(min = 1, max = 253), regex(pattern = SUBDOMAIN)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub image_pull_secrets: Vec<String>,
    /// How requests are spread over revisions (Knative only).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    #[schemars(extend("x-kubernetes-list-type" = "atomic", "x-kubernetes-validations" = [
    rule("size(self) == 0 || self.map(t, t.percent).sum() == 100", "traffic: the percents must sum to 100"),
    rule("self.all(t, !has(t.tag) || self.exists_one(other, has(other.tag) && other.tag == t.tag))", "traffic: tags must be unique"),
]))]
    pub traffic: Vec<TrafficTarget>,
}

pub(super) fn default_port() -> i32 {
    8080
}

/// A container image: `repository[:tag][@digest]`.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Registry and repository, such as `registry.example/team/app`: no scheme, no tag, no digest, no
    /// capitals in the path.
    #[schemars(length(min = 1, max = 255), extend("x-kubernetes-validations" = [cel::repository()]))]
    pub repository: String,
    /// Tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128), regex(pattern = IMAGE_TAG))]
    pub tag: Option<String>,
    /// Digest; takes precedence over the tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71), regex(pattern = IMAGE_DIGEST))]
    pub digest: Option<String>,
}

attribute_values! {
    /// The kind of an External Secrets store.
    #[derive(Default, Deserialize, JsonSchema, Serialize)]
    StoreKind {
        /// Of the service's own namespace.
        #[default]
        SecretStore = "SecretStore",
        /// For all namespaces.
        ClusterSecretStore = "ClusterSecretStore",
    }
}

/// A Secret that the External Secrets Operator fetches from a store.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalSecret {
    /// Name of the `ExternalSecret` object.
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub name: String,
    /// Name of the store.
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub store_ref: String,
    /// Kind of the store.
    #[serde(default)]
    pub store_kind: StoreKind,
    /// Name of the Secret that is written; default: name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub secret_name: Option<String>,
    /// How often the store is read, such as `1h` or `90s`.
    #[serde(default = "hourly")]
    #[schemars(length(max = 32), regex(pattern = DURATION))]
    pub refresh_interval: String,
    /// What to fetch.
    #[schemars(length(min = 1, max = 100))]
    pub data: Vec<ExternalSecretData>,
}

fn hourly() -> String {
    "1h".to_owned()
}

/// One key of the written Secret and where it comes from.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalSecretData {
    /// Key in the written Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = DATA_KEY))]
    pub secret_key: String,
    /// Key in the store.
    #[schemars(length(min = 1, max = 1024))]
    pub remote_key: String,
    /// Property of the key in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub remote_property: Option<String>,
}

/// A share of the requests for one revision.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule("has(self.revisionName) != (has(self.latestRevision) && self.latestRevision)", "traffic: exactly one of revisionName and latestRevision: true must be set"),
]))]
pub struct TrafficTarget {
    /// Name of a revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub revision_name: Option<String>,
    /// Route to the latest ready revision; false is the same as absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_revision: Option<bool>,
    /// Percentage of requests.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub percent: i32,
    /// Gives the revision its own URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub tag: Option<String>,
}

/// What was last seen of a service.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ElpioServiceStatus {
    /// The generation that this status describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Whether it serves, at that generation.
    pub ready: bool,
    /// The engine that serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<Engine>,
    /// URL for clients outside the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// URL for clients inside the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The build that serves, when a function published the service: its annotation `elpio.io/build` as it was
    /// when the service last became ready with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// The objects that were made for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<ChildStatus>,
    /// The rollout of the current generation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// Why it is ready or not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl StatusParts for ElpioServiceStatus {
    fn observed_generation(&self) -> Option<i64> {
        self.observed_generation
    }

    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    fn rollout(&self) -> Option<&RolloutStatus> {
        self.rollout.as_ref()
    }

    fn engine(&self) -> Option<Engine> {
        self.engine
    }
}
