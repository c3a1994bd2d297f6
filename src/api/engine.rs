//! Which engine serves a service. A closed set of words, no more.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which engine serves. Absent in a spec: the operator's `ELPIO_ENGINE`, as it is when the object is first reconciled.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Knative Serving.
    Knative,
    /// KEDA, with its HTTP add-on for `concurrency` and `rps`.
    Keda,
}

impl Engine {
    /// Every engine.
    pub const ALL: [Self; 2] = [Self::Knative, Self::Keda];

    /// The word in the spec, in the status and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Knative => "knative",
            Self::Keda => "keda",
        }
    }

    /// The engine of a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|engine| engine.as_str() == word)
    }
}
