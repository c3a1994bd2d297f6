//! How a function is built, and what its status remembers of its builds. Types and schema only.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{
    cel::rule,
    pattern::{DURATION, OPTIONAL_SUBDOMAIN},
    pod::Resources,
    service::Image,
};

/// How to build.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Build {
    /// The service account of the build. Every step can read its credentials: give `pushSecret` instead to
    /// keep them from the code that is built.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = OPTIONAL_SUBDOMAIN))]
    pub service_account: Option<String>,
    /// A Secret of type kubernetes.io/dockerconfigjson with the credentials to push; only the steps that talk
    /// to the registry see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = OPTIONAL_SUBDOMAIN))]
    pub push_secret: Option<String>,
    /// How long a build may take, such as `30m` or `1h30m`.
    #[schemars(length(min = 1, max = 32), regex(pattern = DURATION), extend("x-kubernetes-validations" = [
        rule("self != '0' && duration(self) > duration('0s')", "build.timeout must be greater than 0")
    ]))]
    pub timeout: String,
    /// How many finished builds to retain.
    #[schemars(range(min = 1, max = 20))]
    pub keep: i32,
    /// Compute resources of each step of a build; default: the step that builds
    /// requests 100m cpu and 256Mi (at most 2 and 4Gi), each other one 50m and 64Mi (at most 500m and 1Gi).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

impl Default for Build {
    fn default() -> Self {
        Self { service_account: None, push_secret: None, timeout: "30m".to_owned(), keep: 3, resources: None }
    }
}

/// How a build ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum BuildOutcome {
    /// It pushed an image.
    Succeeded,
    /// It failed, timed out or was cancelled.
    Failed,
    /// Newer inputs came before it ended.
    Superseded,
}

/// A build that began.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildStatus {
    /// Name of its `PipelineRun`.
    pub name: String,
    /// How many builds of the function began, this one included.
    pub number: i64,
    /// Hash of its inputs.
    pub inputs: String,
    /// The newest value of `elpio.io/rebuild` that this build was started for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuild: Option<String>,
    /// When its run was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// How many builds began in quick succession up to this one: each doubles the pause before the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<i32>,
    /// How it ended; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<BuildOutcome>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The build that serves.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServedBuild {
    /// Name of its `PipelineRun`, which may have been deleted since.
    pub build: String,
    /// The repository that it pushed to.
    pub repository: String,
    /// The tag that it pushed to; absent where the digest is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The digest that it reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

impl ServedBuild {
    /// The image that it pushed.
    #[must_use]
    pub fn image(&self) -> Image {
        Image { repository: self.repository.clone(), tag: self.tag.clone(), digest: self.digest.clone() }
    }
}
