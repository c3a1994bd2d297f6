//! The words of our Events: types and actions, and one occurrence as data. Reasons stand in
//! `condition::reason`.

/// Event types, as Kubernetes has them.
pub mod event_type {
    /// Something went as it should.
    pub const NORMAL: &str = "Normal";
    /// A user may have to act.
    pub const WARNING: &str = "Warning";
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// One of [`event_type`].
    pub type_: &'static str,
    /// One of [`super::condition::reason`].
    pub reason: &'static str,
    /// One of [`action`].
    pub action: &'static str,
    /// What happened, for people.
    pub note: String,
    /// The child that it is about.
    pub related: Option<Related>,
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
