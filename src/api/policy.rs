//! What the operator's configuration decides for every object: closed sets of words, each once. It reads no
//! environment.

/// What is put into the `securityContext` of pods where the user sets none, in Knative's words
/// (`secure-pod-defaults`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum PodSecurity {
    /// Nothing.
    Disabled,
    /// Everything but `runAsNonRoot`.
    #[default]
    RootAllowed,
    /// What passes the Pod Security Standard `restricted`.
    Enabled,
}

impl PodSecurity {
    /// Every value.
    pub const ALL: [Self; 3] = [Self::Disabled, Self::RootAllowed, Self::Enabled];

    /// The word in `ELPIO_POD_SECURITY`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::RootAllowed => "root-allowed",
            Self::Enabled => "enabled",
        }
    }
}

/// What a caller's `elpio.io/traceparent` does.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TraceParentPolicy {
    /// The rollout joins the caller's trace.
    #[default]
    Join,
    /// The rollout is a trace of its own, with a link to the caller's.
    Link,
    /// Nothing.
    Ignore,
}

impl TraceParentPolicy {
    /// Every value.
    pub const ALL: [Self; 3] = [Self::Join, Self::Link, Self::Ignore];

    /// The word in `ELPIO_TRACE_PARENT`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Link => "link",
            Self::Ignore => "ignore",
        }
    }
}
