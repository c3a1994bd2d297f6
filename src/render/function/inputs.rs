//! What a build depends on, and the names that follow from it. Pure.

use serde::Serialize;

use crate::{
    api::{BuildStatus, function::GitSource},
    render::{ValidFunction, child::digest_of},
};

/// What the outcome of a build depends on.
///
/// A field that is added later must be left out of the hash when it is absent, or every function in every
/// cluster is built again.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildInputs {
    /// The git repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git: Option<GitSource>,
    /// The archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
    /// Where the build pushes.
    pub image: String,
    /// The builder image.
    pub builder: String,
    /// The runtime.
    pub runtime: String,
    /// Command of the `web` process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<String>,
    /// The service account of the build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// The Secret with the credentials to push.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub push_secret: Option<String>,
    /// How long it may take, as written.
    pub timeout: String,
}

impl ValidFunction {
    /// The name of the run that is the `number`th build, of the current inputs and for this value of
    /// `elpio.io/rebuild`.
    ///
    /// It follows from these alone, so that a build which a crash has cut short is found again. The first
    /// build's name leaves its number out, as versions did that knew no numbers.
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

    /// The first build of the function, before it begins.
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
    /// A hash of the inputs, by which those of two builds are compared.
    #[must_use]
    pub fn hash(&self) -> String {
        digest_of(&serde_json::to_value(self).unwrap_or_default(), 16)
    }

    /// Whether the source is named by its content, a whole commit id, so that a second build finds the same.
    #[must_use]
    pub fn is_content_addressed(&self) -> bool {
        self.git.as_ref().is_some_and(|git| {
            matches!(git.revision.len(), 40 | 64) && git.revision.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    }
}
