//! How a function's build ends: the words of the metric and of the spans. Types only.

use crate::api::attribute_values::attribute_values;

attribute_values! {
    /// How a build, or a task of it, ended.
    BuildResult {
        /// It succeeded.
        Success = "success",
        /// It failed.
        Error = "error",
        /// It ran out of time.
        Timeout = "timeout",
        /// It was cancelled.
        Cancelled = "cancelled",
    }
}

impl BuildResult {
    /// Every word of `cicd.pipeline.result`.
    pub const CICD_VALUES: [&'static str; Self::ALL.len()] = {
        let mut words = [""; Self::ALL.len()];
        let mut at = 0;
        while at < words.len() {
            words[at] = Self::ALL[at].as_cicd();
            at += 1;
        }
        words
    };

    /// The word of the semantic conventions for CI/CD (`cicd.pipeline.result`).
    #[must_use]
    pub const fn as_cicd(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error => "failure",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancellation",
        }
    }
}
