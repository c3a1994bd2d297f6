//! A call for a series of Events: its input, its result and what follows. Plain data.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    api::event::NewEvent,
    cluster::events::object::{FoundEvent, Regarding},
    telemetry::{CallingReconcile, EventOutcome, SpanIds},
};

/// What to do about an occurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishAction {
    /// Make a call.
    Write,
    /// Nothing now: counted on an existing Event, with a call due later.
    Defer,
    /// Nothing now: counted; a running or due call determines the outcome.
    Await,
    /// Nothing: the object's budget is used up, and no Event exists that could count the occurrence.
    Drop,
}

/// The input for creating the Event of a series.
#[derive(Clone, Debug)]
pub struct PendingEvent {
    /// The object.
    pub regarding: Regarding,
    /// The first occurrence.
    pub event: NewEvent,
    /// The span of the first occurrence, if it is sampled.
    pub ids: Option<SpanIds>,
}

/// A call to make now.
#[derive(Clone, Debug)]
pub struct EventWrite {
    /// One of [`crate::api::event::event_type`].
    pub type_: &'static str,
    /// One of [`crate::api::condition::reason`].
    pub reason: &'static str,
    /// The namespace.
    pub namespace: String,
    /// The Event to create; `None` patches the series of the existing one.
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

/// The result of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventWriteResult {
    /// The Event was created, or its series patched.
    Written,
    /// An Event with this name exists.
    Found(FoundEvent),
    /// The Event no longer exists: it expired an hour after its last occurrence.
    Expired,
    /// The namespace is being deleted, so no Event can be created.
    NamespaceGone,
    /// The call failed; with the API server's `Retry-After`.
    Failed(Option<Duration>),
}

/// What follows from a call, with the number of occurrences for each outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Make another call now.
    Again,
    /// Nothing now.
    Done(Vec<(EventOutcome, u32)>),
    /// Drop the series.
    Forget(Vec<(EventOutcome, u32)>),
}
