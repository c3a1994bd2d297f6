//! What the operator's configuration decides for every object: closed sets of words, each once. It reads no
//! environment.

use crate::api::attribute_values::attribute_values;

attribute_values! {
    /// What is put into the `securityContext` of pods where the user sets none, in Knative's words
    /// (`secure-pod-defaults`).
    #[derive(Default)]
    PodSecurity {
        /// Nothing.
        Disabled = "disabled",
        /// Everything but `runAsNonRoot`.
        #[default]
        RootAllowed = "root-allowed",
        /// What passes the Pod Security Standard `restricted`.
        Enabled = "enabled",
    }
}

attribute_values! {
    /// What a caller's `elpio.io/traceparent` does.
    #[derive(Default)]
    TraceParentPolicy {
        /// The rollout joins the caller's trace.
        #[default]
        Join = "join",
        /// The rollout is a trace of its own, with a link to the caller's.
        Link = "link",
        /// Nothing.
        Ignore = "ignore",
    }
}
