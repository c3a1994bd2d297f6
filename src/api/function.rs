//! The kind `ElpioFunction`: build this source, then run it. Types and schema; the rules that only the
//! operator can know stand in `render`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{
    build::{Build, BuildStatus, ServedBuild},
    cel::{self, rule},
    engine::Engine,
    network::{Ingress, Scaling},
    pattern::{LABEL_VALUE, OPTIONAL_SUBDOMAIN, SUBDOMAIN},
    pod::{EnvFrom, EnvVar, ReadinessProbe, Resources},
    service::default_port,
    status::{RolloutStatus, StatusParts},
};

/// The longest name of a function: its runs' names are 17 characters longer.
pub const MAX_NAME: usize = 46;

/// Where credentials for a git server belong: a URL is part of specs and runs that many may read.
pub const GIT_CREDENTIALS: &str =
    "give build.serviceAccount a Secret with the annotation tekton.dev/git-0 instead";

/// What does the same for an archive.
pub const ARCHIVE_CREDENTIALS: &str = "give a signed URL that expires instead";

const NO_USER_INFO: &str = "!self.matches('^https://[^/?#]*@')";

/// What to build, and how to run it.
#[derive(Clone, CustomResource, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "elpio.io",
    version = "v1alpha1",
    kind = "ElpioFunction",
    plural = "elpiofunctions",
    singular = "elpiofunction",
    shortname = "efn",
    category = "elpio",
    namespaced,
    status = "ElpioFunctionStatus",
    derive = "PartialEq",
    doc = "Source that is built into an image in the cluster, and served as an ElpioService.",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Runtime","type":"string","jsonPath":".spec.runtime"}"#,
    printcolumn = r#"{"name":"Image","type":"string","priority":1,"jsonPath":".status.image"}"#,
    printcolumn = r#"{"name":"URL","type":"string","jsonPath":".status.url"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    validation = Rule::new("size(self.metadata.name) <= 46 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be a DNS-1035 label of at most 46 characters")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [cel::knative_port(), cel::knative_env(), cel::keda_cpu()]))]
pub struct ElpioFunctionSpec {
    /// Where the source is.
    pub source: Source,
    /// The language, such as `python`, `go`, `nodejs` or `java`: the label `elpio.io/runtime`, and the variable RUNTIME
    /// for buildpacks. It does not choose the builder.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL_VALUE))]
    pub runtime: String,
    /// Where the build pushes: `repository[:tag]`, without digest.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[A-Za-z0-9][^\s@]*$"))]
    pub image: String,
    /// Command of the `web` process; replaces the source's Procfile. Default: the process that the buildpacks detect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096), regex(pattern = r"^[^\r\n]*$"))]
    pub entrypoint: Option<String>,
    /// The Cloud Native Buildpacks builder.
    #[serde(default = "default_builder")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[A-Za-z0-9]\S*$"))]
    pub builder: String,
    /// How to build.
    #[serde(default)]
    pub build: Build,
    /// Which engine serves; default: the operator's `ELPIO_ENGINE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<Engine>,
    /// The port that the container listens on.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Environment variables, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 500), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<EnvVar>,
    /// Secrets and `ConfigMaps` as environment variables, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "atomic"))]
    pub env_from: Vec<EnvFrom>,
    /// Compute resources of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// How to find out whether the container can serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness_probe: Option<ReadinessProbe>,
    /// How many replicas run.
    #[serde(default)]
    pub scaling: Scaling,
    /// How the function is reached.
    #[serde(default)]
    pub ingress: Ingress,
    /// The service account of the pods that serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = OPTIONAL_SUBDOMAIN))]
    pub service_account: Option<String>,
    /// Names of the Secrets with the credentials to pull the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), inner(length(min = 1, max = 253), regex(pattern = SUBDOMAIN)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub image_pull_secrets: Vec<String>,
}

fn default_builder() -> String {
    "paketobuildpacks/builder-jammy-base".to_owned()
}

/// Where source is: exactly one of git and archive.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule("has(self.git) != has(self.archive)", "source: exactly one of git and archive must be set")
]))]
pub struct Source {
    /// A git repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitSource>,
    /// The URL of an archive: .tar.gz, .tgz, .tar.bz2, .tar.xz, .tar or .zip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), regex(pattern = r"^https://\S+$"), extend("x-kubernetes-validations" = [
        rule(NO_USER_INFO, &format!("source.archive must not contain credentials: {ARCHIVE_CREDENTIALS}"))
    ]))]
    pub archive: Option<String>,
}

/// A git repository.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GitSource {
    /// Its URL, by https, without user name or password: those belong in a Secret.
    #[schemars(length(max = 2048), regex(pattern = r"^https://\S+$"), extend("x-kubernetes-validations" = [
        rule(NO_USER_INFO, &format!("source.git.url must not contain credentials: {GIT_CREDENTIALS}"))
    ]))]
    pub url: String,
    /// A branch, a tag or a commit.
    #[serde(default = "main_branch")]
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[^-\s]\S*$"))]
    pub revision: String,
    /// The folder in it that is built; default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), regex(pattern = r"^([^/\r\n][^\r\n]*)?$"), extend("x-kubernetes-validations" = [
        rule("!self.matches('(^|/)[.][.](/|$)')", "source.git.subPath must not contain ..")
    ]))]
    pub sub_path: Option<String>,
}

fn main_branch() -> String {
    "main".to_owned()
}

/// Current phase of the function.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Phase {
    /// Nothing runs yet.
    #[default]
    Pending,
    /// A build runs.
    Building,
    /// The build of the current inputs failed.
    BuildFailed,
    /// The service is being rolled out.
    Deploying,
    /// It serves.
    Ready,
}

/// What was last seen of a function.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ElpioFunctionStatus {
    /// The generation that this status describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Whether it serves, at that generation.
    pub ready: bool,
    /// Current phase of the function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The image of the published `ElpioService`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Digest of the last image that was built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    /// Name of the `PipelineRun` for the current inputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// The last build that began; a new one is due when it differs from what is asked now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_build: Option<BuildStatus>,
    /// The last build that succeeded, which the service runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served: Option<ServedBuild>,
    /// Name of the `ElpioService` that serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// The engine that serves; a function whose spec names none keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<Engine>,
    /// URL for clients outside the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The rollout of the current generation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// Why it is ready or not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl StatusParts for ElpioFunctionStatus {
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
        // Metrics count it with the service that it publishes.
        None
    }
}
