//! What a timeline of a rollout is made of, and what it has. Types only.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::plugin::{critical_path::StepKind, spans::TraceSpan};

/// What a timeline is made of.
#[derive(Clone, Debug, Default)]
pub struct TimelineInputs {
    /// The object.
    pub object: Value,
    /// Its children, and for a function the service that it publishes.
    pub children: Vec<(String, Value)>,
    /// Events of the core API that regard it.
    pub events: Vec<Value>,
    /// The spans of its trace, where a backend was asked.
    pub spans: Option<Vec<TraceSpan>>,
    /// Where a person reads the trace.
    pub link: Option<String>,
    /// What could not be read.
    pub notes: Vec<String>,
}

/// One rollout.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeline {
    /// `ElpioService` or `ElpioFunction`.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The generation that was rolled out.
    pub generation: Option<i64>,
    /// `Ready`, `Superseded`, `Deleted`, `TimedOut`, or `Running`.
    pub outcome: String,
    /// When the operator began.
    pub started_at: Option<Timestamp>,
    /// When the rollout ended.
    pub ended_at: Option<Timestamp>,
    /// How long it took, or has taken.
    pub seconds: Option<f64>,
    /// What was asked for, by whom.
    pub asked: SpecChange,
    /// The condition `Ready`, now.
    pub ready: ReadyNow,
    /// The trace, where it was sampled.
    pub trace_id: Option<String>,
    /// Where a person reads the trace.
    pub link: Option<String>,
    /// The parts of the rollout, in order, from times in objects and Events.
    pub parts: Vec<TimelinePart>,
    /// The longest part, by spans where there are any.
    pub longest: Option<TimelinePart>,
    /// The children.
    pub children: Vec<TimelineChild>,
    /// The Events of the rollout, oldest first.
    pub events: Vec<TimelineEvent>,
    /// What the spans add.
    pub spans: Option<TimelineSpans>,
    /// What is worth knowing beside.
    pub notes: Vec<String>,
}

/// The last change of the spec.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SpecChange {
    /// The field manager that made it.
    pub manager: String,
    /// When.
    pub at: Option<Timestamp>,
    /// The spec in a few words.
    pub what: String,
}

/// The condition `Ready`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ReadyNow {
    /// `True`, `False`, `Unknown`.
    pub status: String,
    /// Its reason.
    pub reason: String,
    /// Its message.
    pub message: String,
}

/// A part of the rollout.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TimelinePart {
    /// What happened.
    pub name: String,
    /// When it began.
    pub from: Timestamp,
    /// How long it took.
    pub seconds: f64,
}

/// One child.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TimelineChild {
    /// Its kind, for people.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// When it was last applied.
    pub applied_at: Option<Timestamp>,
    /// Whether it is ready; `None` where its kind does not say.
    pub ready: Option<bool>,
    /// Since when it is so.
    pub since: Option<Timestamp>,
    /// Its own reason and message, where it is not ready.
    pub why: String,
}

/// One Event, with the size of its series.
#[derive(Clone, Debug, Serialize)]
pub struct TimelineEvent {
    /// The first occurrence.
    pub at: Option<Timestamp>,
    /// `Normal` or `Warning`.
    #[serde(rename = "type")]
    pub type_: String,
    /// Its reason.
    pub reason: String,
    /// How often it occurred.
    pub count: i64,
    /// Its note.
    pub note: String,
}

/// What spans add.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TimelineSpans {
    /// How many spans the trace has.
    pub count: usize,
    /// How many of them are requests.
    pub calls: usize,
    /// Spans that failed: name and cause.
    pub failed: Vec<String>,
    /// The steps that add up to the rollout's time.
    pub critical_path: Vec<SpanStep>,
}

/// A step of the critical path.
#[derive(Clone, Debug, Serialize)]
pub struct SpanStep {
    /// What ran, or what was waited for.
    pub name: String,
    /// What the time was spent on.
    pub kind: StepKind,
    /// After the start of the rollout.
    pub offset: f64,
    /// How long it took.
    pub seconds: f64,
}
