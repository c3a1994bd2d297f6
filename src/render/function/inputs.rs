//! The inputs of a build, and the names derived from them. Pure.

use serde::Serialize;

use crate::{
    api::{BuildStatus, function::GitSource},
    render::{ValidFunction, child::digest_of},
};

/// Everything that the outcome of a build depends on.
///
/// The hash must skip a field added later while it is absent; otherwise an upgrade would rebuild every
/// function in every cluster.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildInputs {
    /// The git repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git: Option<GitSource>,
    /// The archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
    /// The image to push.
    pub image: String,
    /// The builder image.
    pub builder: String,
    /// The runtime.
    pub runtime: String,
    /// The command of the `web` process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<String>,
    /// The service account of the build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// The Secret with the push credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub push_secret: Option<String>,
    /// The timeout, as written.
    pub timeout: String,
}

impl ValidFunction {
    /// The name of the run for the `number`th build, of the current inputs and this value of
    /// `elpio.io/rebuild`.
    ///
    /// The name depends on nothing else, so that a run is found again after a crash. The first build's name
    /// omits the number, for compatibility with versions without numbers.
    #[must_use]
    pub fn run_name(&self, number: i64, rebuild: Option<&str>) -> String {
        let mut named = serde_json::to_value(&self.inputs).unwrap_or_default();
        if let Some(rebuild) = rebuild {
            named["rebuild"] = rebuild.into();
        }
        if number > 1 {
            named["number"] = number.into();
        }
        format!("{}-build-{}", self.name, digest_of(&named, 10))
    }

    /// The first build of the function, before it starts.
    #[must_use]
    pub fn first_build(&self) -> BuildStatus {
        BuildStatus {
            name: self.run_name(1, self.rebuild.as_deref()),
            number: 1,
            inputs: self.inputs.hash(),
            rebuild: self.rebuild.clone(),
            ..BuildStatus::default()
        }
    }
}

impl BuildInputs {
    /// A hash for comparing the inputs of two builds.
    #[must_use]
    pub fn hash(&self) -> String {
        digest_of(&serde_json::to_value(self).unwrap_or_default(), 16)
    }

    /// Whether the source is identified by its content (a full commit ID), so that a second build gets the
    /// same source.
    #[must_use]
    pub fn is_content_addressed(&self) -> bool {
        self.git.as_ref().is_some_and(|git| {
            matches!(git.revision.len(), 40 | 64) && git.revision.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    }
}
