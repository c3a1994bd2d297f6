//! The closed sets of attribute values: those that telemetry itself owns, and the labels made of all of them.
//! It has no behaviour.

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
    /// The kind of object that is reconciled.
    Kind {
        /// An `ElpioService`.
        ElpioService = "ElpioService",
        /// An `ElpioFunction`.
        ElpioFunction = "ElpioFunction",
    }
}

attribute_values! {
    /// Why the operator failed to do its work now (`error.type`).
    ErrorType {
        /// The spec cannot be rendered.
        InvalidSpec = "invalid_spec",
        /// A child's name is held by another object.
        NameConflict = "name_conflict",
        /// A write lost against another writer (HTTP 409).
        Conflict = "conflict",
        /// HTTP 401 or 403.
        Forbidden = "forbidden",
        /// Another project's API is not installed.
        DependencyMissing = "dependency_missing",
        /// What was asked for is not there (and should be).
        NotFound = "not_found",
        /// Another 4xx of the API server or of a webhook.
        Rejected = "rejected",
        /// HTTP 429.
        Throttled = "throttled",
        /// The call or the server's own deadline ran out.
        Timeout = "timeout",
        /// No connection, or a 5xx that may pass.
        Unavailable = "unavailable",
        /// Everything else: a fault of the operator, a panic included.
        Internal = "internal",
    }
}

attribute_values! {
    /// What caused a reconcile.
    Trigger {
        /// The object's own spec or metadata changed.
        Spec = "spec",
        /// A child changed.
        Child = "child",
        /// The reconcile before failed.
        Retry = "retry",
        /// Time passed.
        Resync = "resync",
        /// Something that is not a child, but is needed, changed.
        Dependency = "dependency",
    }
}

attribute_values! {
    /// A step of a reconcile.
    ReconcileStep {
        /// The existing children are read.
        Observe = "observe",
        /// The spec is checked.
        Validate = "validate",
        /// The children are made up.
        Render = "render",
        /// The status is written.
        Status = "status",
        /// Events are written.
        Event = "event",
    }
}

attribute_values! {
    /// A step of a reconcile for one child.
    ChildStep {
        /// It is written.
        Apply = "apply",
        /// It is deleted.
        Delete = "delete",
    }
}

attribute_values! {
    /// What a reconcile came to.
    #[derive(Default)]
    ReconcileOutcome {
        /// The object is ready.
        Ready = "ready",
        /// All is written; something is not ready.
        #[default]
        Waiting = "waiting",
        /// An engine still holds a child that is no longer desired.
        Pruning = "pruning",
        /// The spec cannot be rendered.
        Invalid = "invalid",
        /// The operator failed to do its work.
        Failed = "failed",
        /// The object changed meanwhile.
        Overtaken = "overtaken",
    }
}

attribute_values! {
    /// What applying a child did.
    ApplyOutcome {
        /// Written, and different from before.
        Changed = "changed",
        /// Nothing to do.
        Unchanged = "unchanged",
        /// No longer desired, and deleted.
        Deleted = "deleted",
    }
}

attribute_values! {
    /// How a rollout ended, as metrics count it.
    RolloutResult {
        /// It became ready.
        Ready = RolloutOutcome::Ready.as_str(),
        /// A newer generation took its place.
        Superseded = RolloutOutcome::Superseded.as_str(),
        /// The object was deleted.
        Deleted = RolloutOutcome::Deleted.as_str(),
        /// The deadline passed.
        TimedOut = RolloutOutcome::TimedOut.as_str(),
        /// The deadline passed, and what is wrong only its author can mend.
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
    /// What became of an Event.
    EventOutcome {
        /// A new API object.
        Created = "created",
        /// Counted on an API object that was there.
        Aggregated = "aggregated",
        /// Not sent: too many.
        Dropped = "dropped",
        /// Refused by the API server, or not written when this replica lost the lead or ended.
        Failed = "failed",
    }
}

attribute_values! {
    /// A signal of OpenTelemetry.
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
    /// How an export, or a reconcile, ended.
    ExportResult {
        /// Well.
        Success = "success",
        /// It failed.
        Error = "error",
    }
}

attribute_values! {
    /// Why telemetry was lost.
    DropCause {
        /// There was no room in the queue.
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
        /// It is unknown, or there is none.
        Unknown = "unknown",
    }
}

attribute_values! {
    /// Where processor time was spent.
    CpuMode {
        /// In the program.
        User = "user",
        /// In the kernel, for it.
        System = "system",
    }
}

/// A value of a closed set, as it is on a metric. It can be made from the enums of the sets alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LabelValue(&'static str);

impl LabelValue {
    /// For the other sets of the catalog.
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

/// The engine of what has none.
pub const NO_ENGINE: &str = "none";
