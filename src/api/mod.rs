//! Elpio's own kinds: types, schema and names. It imports nothing else of this crate and does no I/O.

pub(crate) mod attribute_values;
pub mod build;
pub mod build_result;
mod cel;
pub mod condition;
mod crd;
pub mod defaults;
pub mod engine;
pub mod event;
pub mod function;
pub(crate) mod hex;
pub mod network;
pub mod pattern;
pub mod pod;
pub mod policy;
pub mod quantity;
pub mod redaction;
pub mod service;
pub mod status;
pub mod stored;
pub mod trace_parent;
pub mod url;

pub use crate::api::build::{BuildOutcome, BuildStatus, ServedBuild};
pub use crate::api::build_result::BuildResult;
pub use crate::api::crd::{CrdError, crds, to_yaml};
pub use crate::api::engine::Engine;
pub use crate::api::function::{ElpioFunction, ElpioFunctionSpec, ElpioFunctionStatus, Phase};
pub use crate::api::service::{ElpioService, ElpioServiceSpec, ElpioServiceStatus};
pub use crate::api::status::{ChildStatus, RolloutOutcome, RolloutStatus, StatusParts, SupersededRollout};
pub use crate::api::stored::{LenientFunction, LenientObject, LenientService, SpecError};
pub use crate::api::trace_parent::TraceParent;

/// The API group of Elpio's kinds.
pub const GROUP: &str = "elpio.io";

/// `GROUP/VERSION`, as `apiVersion` has it.
pub const API_VERSION: &str = "elpio.io/v1alpha1";

/// The version of Elpio's kinds.
pub const VERSION: &str = "v1alpha1";

/// The field manager of every server-side apply.
pub const FIELD_MANAGER: &str = "elpio";

/// Names of annotations.
pub mod annotation {
    /// On a child: the hash of what was sent ([`crate::render::Child::hash`]).
    pub const APPLIED: &str = "elpio.io/applied";
    /// On a child or an Event: the W3C `traceparent` of the trace that wrote it. On an object of Elpio's: the caller's.
    pub const TRACEPARENT: &str = "elpio.io/traceparent";
    /// On an object of Elpio's: a caller's trace context by the name that Kubernetes' tracing uses.
    pub const KUBERNETES_TRACEPARENT: &str = "tracing.k8s.io/traceparent";
    /// On an object of ours, beside [`TRACEPARENT`]: the W3C `tracestate` of the caller.
    pub const TRACESTATE: &str = "elpio.io/tracestate";
    /// The same by the name that Kubernetes' tracing uses.
    pub const KUBERNETES_TRACESTATE: &str = "tracing.k8s.io/tracestate";
    /// On an Event: the trace id, 32 hexadecimal digits.
    pub const TRACE_ID: &str = "elpio.io/trace-id";
    /// On an Event: the trace id of the last occurrence of its series.
    pub const LAST_TRACE_ID: &str = "elpio.io/last-trace-id";
    /// On an `ElpioFunction`, set by its user: any new value asks for a new build.
    pub const REBUILD: &str = "elpio.io/rebuild";
    /// On a `PipelineRun`: the hash of the inputs that it builds.
    pub const BUILD_INPUTS: &str = "elpio.io/build-inputs";
    /// On a `PipelineRun`: the number of the build.
    pub const BUILD_NUMBER: &str = "elpio.io/build-number";
    /// On a `PipelineRun`: where Tekton's controller finds the trace that its own spans join, as a JSON
    /// carrier.
    pub const TEKTON_SPAN_CONTEXT: &str = "tekton.dev/pipelinerunSpanContext";
    /// On a `PipelineRun` that was cancelled: the run of newer inputs that took its place.
    pub const SUPERSEDED_BY: &str = "elpio.io/superseded-by";
    /// On a published `ElpioService`: the name of the run that built its image.
    pub const BUILD: &str = "elpio.io/build";

    /// Whether an annotation of this name is read at all: stores keep no others.
    #[must_use]
    pub fn is_read(name: &str) -> bool {
        let prefix = name.split_once('/').map_or("", |(prefix, _)| prefix);
        [super::GROUP, "tracing.k8s.io"].contains(&prefix)
    }
}

/// Names and values of labels.
pub mod label {
    /// The `ElpioService` that a child or a pod belongs to.
    pub const SERVICE: &str = "elpio.io/service";
    /// The `ElpioFunction` that a child or a pod belongs to.
    pub const FUNCTION: &str = "elpio.io/function";
    /// A function's runtime.
    pub const RUNTIME: &str = "elpio.io/runtime";
    /// Kubernetes' recommended label for the tool that manages an object.
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    /// The value of [`MANAGED_BY`] and of [`PART_OF`].
    pub const MANAGED_BY_VALUE: &str = "elpio";
    /// Kubernetes' recommended label for an application's name.
    pub const NAME: &str = "app.kubernetes.io/name";
    /// Kubernetes' recommended label for one instance of an application.
    pub const INSTANCE: &str = "app.kubernetes.io/instance";
    /// Kubernetes' recommended label for the platform that an application is part of.
    pub const PART_OF: &str = "app.kubernetes.io/part-of";
}
