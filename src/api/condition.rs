//! Condition types and reasons, each declared once: status code, docs, alerts and tests take them from here.

pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::attribute_values::attribute_values;

/// Condition types.
pub mod kind {
    /// Summary: the object is ready at its current generation.
    pub const READY: &str = "Ready";
    /// The children are as the spec says.
    pub const RECONCILED: &str = "Reconciled";
    /// The engine's child reports that it is ready for its current spec.
    pub const ENGINE_READY: &str = "EngineReady";
    /// `DomainMapping` and Certificate are ready.
    pub const DOMAIN_READY: &str = "DomainReady";
    /// Every `ExternalSecret` is synced.
    pub const SECRETS_READY: &str = "SecretsReady";
    /// The build of a function's current inputs succeeded.
    pub const BUILD_READY: &str = "BuildReady";
    /// The `Ready` of the `ElpioService` that a function produced.
    pub const SERVICE_READY: &str = "ServiceReady";
    /// For kstatus: on its way, or failing in a way that may pass. Present only when True.
    pub const RECONCILING: &str = "Reconciling";
    /// For kstatus: only an edit can fix it. Present only when True.
    pub const STALLED: &str = "Stalled";

    /// Every condition type.
    pub const ALL: &[&str] = &[
        READY,
        RECONCILED,
        ENGINE_READY,
        DOMAIN_READY,
        SECRETS_READY,
        BUILD_READY,
        SERVICE_READY,
        RECONCILING,
        STALLED,
    ];
}

/// Reasons of conditions and Events.
pub mod reason {
    /// All children were applied; or, on `Ready`, everything serves.
    pub const RECONCILED: &str = "Reconciled";
    /// Something is on its way.
    pub const PROGRESSING: &str = "Progressing";
    /// The object is invalid; the message lists each field.
    pub const INVALID_SPEC: &str = "InvalidSpec";
    /// A child's name belongs to another controller's object.
    pub const NAME_CONFLICT: &str = "NameConflict";
    /// An API that the object needs is not served.
    pub const DEPENDENCY_MISSING: &str = "DependencyMissing";
    /// The operator lacks a permission.
    pub const FORBIDDEN: &str = "Forbidden";
    /// Old children are being deleted before new ones of the same name are applied.
    pub const PRUNING: &str = "Pruning";
    /// A child could not be applied for another reason.
    pub const APPLY_FAILED: &str = "ApplyFailed";
    /// A build runs.
    pub const BUILDING: &str = "Building";
    /// A build failed.
    pub const BUILD_FAILED: &str = "BuildFailed";
    /// Event: it became ready.
    pub const READY: &str = "Ready";
    /// Event: reconciling failed.
    pub const RECONCILE_FAILED: &str = "ReconcileFailed";
    /// Event: the engine cannot do what a field asks.
    pub const FIELD_IGNORED: &str = "FieldIgnored";
    /// Event: a rollout did not end within its deadline.
    pub const ROLLOUT_TIMED_OUT: &str = "RolloutTimedOut";
    /// The engine's child is not ready and gives no reason of its own.
    pub const ENGINE_NOT_READY: &str = "EngineNotReady";
    /// The domain is not ready and gives no reason of its own.
    pub const DOMAIN_NOT_READY: &str = "DomainNotReady";
    /// A secret is not synced and gives no reason of its own.
    pub const SECRETS_NOT_READY: &str = "SecretsNotReady";
    /// A function's service is not ready and gives no reason of its own.
    pub const SERVICE_NOT_READY: &str = "ServiceNotReady";
    /// Event: a `PipelineRun` was created.
    pub const BUILD_STARTED: &str = "BuildStarted";
    /// Event, and `BuildReady` True: the build succeeded.
    pub const BUILD_SUCCEEDED: &str = "BuildSucceeded";

    /// Reasons of `Ready` that only the object's author can mend.
    pub const AUTHOR_ERRORS: &[&str] = &[INVALID_SPEC, NAME_CONFLICT, BUILD_FAILED];
}

attribute_values! {
    /// The reasons by which objects are counted; a reason that is copied from an engine counts as one of the
    /// `…NotReady`.
    StateReason {
        /// See [`reason::RECONCILED`].
        Reconciled = reason::RECONCILED,
        /// See [`reason::PROGRESSING`].
        Progressing = reason::PROGRESSING,
        /// See [`reason::INVALID_SPEC`].
        InvalidSpec = reason::INVALID_SPEC,
        /// See [`reason::NAME_CONFLICT`].
        NameConflict = reason::NAME_CONFLICT,
        /// See [`reason::DEPENDENCY_MISSING`].
        DependencyMissing = reason::DEPENDENCY_MISSING,
        /// See [`reason::FORBIDDEN`].
        Forbidden = reason::FORBIDDEN,
        /// See [`reason::PRUNING`].
        Pruning = reason::PRUNING,
        /// See [`reason::APPLY_FAILED`].
        ApplyFailed = reason::APPLY_FAILED,
        /// See [`reason::BUILDING`].
        Building = reason::BUILDING,
        /// See [`reason::BUILD_FAILED`].
        BuildFailed = reason::BUILD_FAILED,
        /// See [`reason::ENGINE_NOT_READY`].
        EngineNotReady = reason::ENGINE_NOT_READY,
        /// See [`reason::DOMAIN_NOT_READY`].
        DomainNotReady = reason::DOMAIN_NOT_READY,
        /// See [`reason::SECRETS_NOT_READY`].
        SecretsNotReady = reason::SECRETS_NOT_READY,
        /// See [`reason::SERVICE_NOT_READY`].
        ServiceNotReady = reason::SERVICE_NOT_READY,
        /// A reason that this version does not know.
        Unknown = "Unknown",
    }
}
