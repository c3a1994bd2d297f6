//! The closed sets of attribute values that telemetry itself owns, and the label values made from all sets.
//! No behaviour.

pub use crate::{
    api::{
        BuildResult, Engine, RolloutOutcome,
        condition::StateReason,
        event::{EventReason, EventType},
    },
    foreign::ChildKind,
};

use crate::api::attribute_values::attribute_values;

attribute_values! {
    /// The kind of the reconciled object.
    Kind {
        /// An `ElpioService`.
        ElpioService = "ElpioService",
        /// An `ElpioFunction`.
        ElpioFunction = "ElpioFunction",
    }
}

attribute_values! {
    /// The class of a failure (`error.type`).
    ErrorType {
        /// The spec cannot be rendered.
        InvalidSpec = "invalid_spec",
        /// Another object holds a child's name.
        NameConflict = "name_conflict",
        /// Another writer was faster (HTTP 409).
        Conflict = "conflict",
        /// HTTP 401 or 403.
        Forbidden = "forbidden",
        /// Another project's API is not installed.
        DependencyMissing = "dependency_missing",
        /// The requested object does not exist, but should.
        NotFound = "not_found",
        /// Another 4xx of the API server or of a webhook.
        Rejected = "rejected",
        /// HTTP 429.
        Throttled = "throttled",
        /// The timeout of the call or of the server expired.
        Timeout = "timeout",
        /// No connection, or a transient 5xx.
        Unavailable = "unavailable",
        /// Everything else: a bug in the operator, including panics.
        Internal = "internal",
    }
}

attribute_values! {
    /// The trigger of a reconcile.
    Trigger {
        /// The object's own spec or metadata changed.
        Spec = "spec",
        /// A child changed.
        Child = "child",
        /// The previous reconcile failed.
        Retry = "retry",
        /// A timer fired.
        Resync = "resync",
        /// A dependency that is not a child changed.
        Dependency = "dependency",
    }
}

attribute_values! {
    /// A step of a reconcile.
    ReconcileStep {
        /// Reads the existing children.
        Observe = "observe",
        /// Validates the spec.
        Validate = "validate",
        /// Renders the children.
        Render = "render",
        /// Writes the status.
        Status = "status",
        /// Publishes the Events.
        Event = "event",
    }
}

attribute_values! {
    /// A step of a reconcile for one child.
    ChildStep {
        /// Applies the child.
        Apply = "apply",
        /// Deletes the child.
        Delete = "delete",
    }
}

attribute_values! {
    /// The outcome of a reconcile.
    #[derive(Default)]
    ReconcileOutcome {
        /// The object is ready.
        Ready = "ready",
        /// Everything is applied; something is not ready.
        #[default]
        Waiting = "waiting",
        /// An engine still holds a child that is no longer desired.
        Pruning = "pruning",
        /// The spec cannot be rendered.
        Invalid = "invalid",
        /// The operator failed.
        Failed = "failed",
        /// The object changed during the reconcile.
        Overtaken = "overtaken",
    }
}

attribute_values! {
    /// The outcome of applying a child.
    ApplyOutcome {
        /// Written and changed.
        Changed = "changed",
        /// Up to date.
        Unchanged = "unchanged",
        /// No longer desired, and deleted.
        Deleted = "deleted",
    }
}

attribute_values! {
    /// The result of a rollout, for metrics.
    RolloutResult {
        /// It became ready.
        Ready = RolloutOutcome::Ready.as_str(),
        /// A newer generation superseded it.
        Superseded = RolloutOutcome::Superseded.as_str(),
        /// The object was deleted.
        Deleted = RolloutOutcome::Deleted.as_str(),
        /// The deadline passed.
        TimedOut = RolloutOutcome::TimedOut.as_str(),
        /// The deadline passed, and only the object's author can fix the cause.
        AuthorError = "author_error",
    }
}

impl From<RolloutOutcome> for RolloutResult {
    fn from(outcome: RolloutOutcome) -> Self {
        match outcome {
            RolloutOutcome::Ready => Self::Ready,
            RolloutOutcome::Superseded => Self::Superseded,
            RolloutOutcome::Deleted => Self::Deleted,
            RolloutOutcome::TimedOut => Self::TimedOut,
        }
    }
}

attribute_values! {
    /// The outcome of an Event.
    EventOutcome {
        /// Created an API object.
        Created = "created",
        /// Counted on an existing API object.
        Aggregated = "aggregated",
        /// Dropped: too many.
        Dropped = "dropped",
        /// Rejected by the API server, or unwritten when this replica lost the lead or stopped.
        Failed = "failed",
    }
}

attribute_values! {
    /// An OpenTelemetry signal.
    Signal {
        /// Spans.
        Traces = "traces",
        /// Metrics.
        Metrics = "metrics",
        /// Log records.
        Logs = "logs",
    }
}

attribute_values! {
    /// The result of an export or a reconcile.
    ExportResult {
        /// It succeeded.
        Success = "success",
        /// It failed.
        Error = "error",
    }
}

attribute_values! {
    /// Why telemetry was lost.
    DropCause {
        /// The queue was full.
        QueueFull = "queue_full",
        /// Its export failed, or the collector rejected it.
        Error = "error",
    }
}

attribute_values! {
    /// The `Ready` condition of an object.
    ReadyValue {
        /// It is true.
        True = "true",
        /// It is false.
        False = "false",
        /// It is unknown or missing.
        Unknown = "unknown",
    }
}

attribute_values! {
    /// The CPU mode.
    CpuMode {
        /// In user mode.
        User = "user",
        /// In kernel mode.
        System = "system",
    }
}

/// A metric attribute's value from a closed set. Only the sets' enums convert to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LabelValue(&'static str);

impl LabelValue {
    /// For the catalog's other sets.
    pub(in crate::telemetry::catalog) const fn from_table(word: &'static str) -> Self {
        Self(word)
    }

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

macro_rules! label_values {
    ($($name:ty),+ $(,)?) => {
        $(impl From<$name> for LabelValue {
            fn from(value: $name) -> Self {
                Self(value.as_str())
            }
        })+
    };
}

label_values!(
    ApplyOutcome,
    BuildResult,
    CpuMode,
    DropCause,
    ErrorType,
    EventOutcome,
    EventReason,
    EventType,
    ExportResult,
    Kind,
    ReadyValue,
    RolloutResult,
    Signal,
    StateReason,
    Trigger,
);

impl From<ChildKind> for LabelValue {
    fn from(kind: ChildKind) -> Self {
        Self(kind.label())
    }
}

impl From<Option<Engine>> for LabelValue {
    fn from(engine: Option<Engine>) -> Self {
        Self(engine.map_or(NO_ENGINE, Engine::as_str))
    }
}

/// The engine label of an object without one.
pub const NO_ENGINE: &str = "none";
