//! A call for a series of Events: what it needs, what became of it, what follows. Data alone.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    api::event::NewEvent,
    cluster::events::object::{FoundEvent, Regarding},
    telemetry::{CallingReconcile, EventOutcome, SpanIds},
};

/// What an occurrence leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishAction {
    /// A call.
    Write,
    /// It is counted on an Event that exists; a call is due later.
    Defer,
    /// It is counted; a call is running or due, and tells its outcome.
    Await,
    /// Nothing: its object has caused too many calls.
    Drop,
}

/// What is needed to create the Event of a series.
#[derive(Clone, Debug)]
pub struct PendingEvent {
    /// The object.
    pub regarding: Regarding,
    /// The first occurrence.
    pub event: NewEvent,
    /// The span of the first occurrence, where it is sampled.
    pub ids: Option<SpanIds>,
}

/// A call as it is to be made now.
#[derive(Clone, Debug)]
pub struct EventWrite {
    /// One of [`crate::api::event::event_type`].
    pub type_: &'static str,
    /// One of [`crate::api::condition::reason`].
    pub reason: &'static str,
    /// The namespace.
    pub namespace: String,
    /// The Event to create; `None`: it exists, and its series is to be patched.
    pub pending: Option<PendingEvent>,
    /// How many foreign Events were found under our names.
    pub names_taken: u32,
    /// Occurrences so far.
    pub count: i32,
    /// The first of them.
    pub first: Timestamp,
    /// The last of them.
    pub last: Timestamp,
    /// The trace of the last of them.
    pub last_trace: Option<String>,
    /// The reconcile that published the last of them.
    pub caller: Option<CallingReconcile>,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventWriteResult {
    /// The Event was created, or its series patched.
    Written,
    /// There is one under its name.
    Found(FoundEvent),
    /// There is none any more, an hour after its last occurrence.
    Expired,
    /// There will be none, since its namespace is being deleted.
    NamespaceGone,
    /// An error; with the pause that the API server asks for.
    Failed(Option<Duration>),
}

/// What follows from a call. So many occurrences had these outcomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Another call, now.
    Again,
    /// Nothing now.
    Done(Vec<(EventOutcome, u32)>),
    /// The series is given up.
    Forget(Vec<(EventOutcome, u32)>),
}
