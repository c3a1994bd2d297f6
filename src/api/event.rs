//! The words of our Events: types and actions, and one occurrence as data. Reasons stand in
//! `condition::reason`.

use crate::api::{attribute_values::attribute_values, condition::reason};

/// Event types, as Kubernetes has them.
pub mod event_type {
    /// Something went as it should.
    pub const NORMAL: &str = "Normal";
    /// A user may have to act.
    pub const WARNING: &str = "Warning";
}

attribute_values! {
    /// The type of an Event.
    EventType {
        /// See [`event_type::NORMAL`].
        Normal = event_type::NORMAL,
        /// See [`event_type::WARNING`].
        Warning = event_type::WARNING,
    }
}

attribute_values! {
    /// The reason of an Event.
    EventReason {
        /// See [`reason::RECONCILED`].
        Reconciled = reason::RECONCILED,
        /// See [`reason::PROGRESSING`].
        Progressing = reason::PROGRESSING,
        /// See [`reason::READY`].
        Ready = reason::READY,
        /// See [`reason::RECONCILE_FAILED`].
        ReconcileFailed = reason::RECONCILE_FAILED,
        /// See [`reason::FIELD_IGNORED`].
        FieldIgnored = reason::FIELD_IGNORED,
        /// See [`reason::ROLLOUT_TIMED_OUT`].
        RolloutTimedOut = reason::ROLLOUT_TIMED_OUT,
        /// See [`reason::BUILD_STARTED`].
        BuildStarted = reason::BUILD_STARTED,
        /// See [`reason::BUILD_SUCCEEDED`].
        BuildSucceeded = reason::BUILD_SUCCEEDED,
        /// See [`reason::BUILD_FAILED`].
        BuildFailed = reason::BUILD_FAILED,
    }
}

impl EventReason {
    /// The types that an Event of this reason can have.
    #[must_use]
    pub const fn types(self) -> &'static [EventType] {
        match self {
            Self::Progressing => &EventType::ALL,
            Self::ReconcileFailed | Self::FieldIgnored | Self::RolloutTimedOut | Self::BuildFailed => {
                &[EventType::Warning]
            }
            Self::Reconciled | Self::Ready | Self::BuildStarted | Self::BuildSucceeded => {
                &[EventType::Normal]
            }
        }
    }
}

/// Event actions: what the operator was doing.
pub mod action {
    /// It was writing children.
    pub const APPLY: &str = "Apply";
    /// It was building.
    pub const BUILD: &str = "Build";
    /// It was reading the children's status.
    pub const OBSERVE: &str = "Observe";
}

/// One thing that happened to an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewEvent {
    /// One of [`event_type`].
    pub type_: &'static str,
    /// One of [`reason`].
    pub reason: &'static str,
    /// One of [`action`].
    pub action: &'static str,
    /// What happened, for people.
    pub note: String,
    /// The child that it is about.
    pub related: Option<Related>,
    /// What fails: the reason of a condition, the class of an error, or both; "" if nothing does. The note of a series
    /// is that of its first occurrence: each cause has a series of its own.
    pub cause: String,
}

/// A child that an Event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Related {
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its `kind`.
    pub kind: String,
    /// Its name; its namespace is the object's.
    pub name: String,
}
