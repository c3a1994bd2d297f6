//! The inputs and the fields of a rollout's timeline. Types only.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::plugin::{critical_path::StepKind, spans::TraceSpan};

/// The inputs of a timeline.
#[derive(Clone, Debug, Default)]
pub struct TimelineInputs {
    /// The object.
    pub object: Value,
    /// Its children, including the service that a function publishes.
    pub children: Vec<(String, Value)>,
    /// The core API's Events about it.
    pub events: Vec<Value>,
    /// The spans of its trace, if a backend was queried.
    pub spans: Option<Vec<TraceSpan>>,
    /// The URL of the trace for a browser.
    pub link: Option<String>,
    /// The inputs that could not be read.
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
    /// The generation of the rollout.
    pub generation: Option<i64>,
    /// `Ready`, `Superseded`, `Deleted`, `TimedOut`, or `Running`.
    pub outcome: String,
    /// When the operator started it.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Its duration so far.
    pub seconds: Option<f64>,
    /// The change that caused it, and its author.
    pub asked: SpecChange,
    /// The current condition `Ready`.
    pub ready: ReadyNow,
    /// The trace ID, if the rollout was sampled.
    pub trace_id: Option<String>,
    /// The URL of the trace for a browser.
    pub link: Option<String>,
    /// The parts of the rollout, in order, from the times in objects and Events.
    pub parts: Vec<TimelinePart>,
    /// The longest part; from the spans if there are any.
    pub longest: Option<TimelinePart>,
    /// The children.
    pub children: Vec<TimelineChild>,
    /// The Events of the rollout, oldest first.
    pub events: Vec<TimelineEvent>,
    /// The information from the spans.
    pub spans: Option<TimelineSpans>,
    /// Remarks.
    pub notes: Vec<String>,
}

/// The last change of the spec.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SpecChange {
    /// The field manager that made it.
    pub manager: String,
    /// When.
    pub at: Option<Timestamp>,
    /// A short summary of the spec.
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
    /// The name of the part.
    pub name: String,
    /// When it started.
    pub from: Timestamp,
    /// Its duration.
    pub seconds: f64,
}

/// One child.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TimelineChild {
    /// Its kind, for display.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// When it was last applied.
    pub applied_at: Option<Timestamp>,
    /// Whether it is ready; `None` if its kind does not report that.
    pub ready: Option<bool>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Its own reason and message, if it is not ready.
    pub why: String,
}

/// One Event, with the count of its series.
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

/// The information from the spans.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TimelineSpans {
    /// How many spans the trace has.
    pub count: usize,
    /// How many of them are requests.
    pub calls: usize,
    /// Failed spans: name and cause.
    pub failed: Vec<String>,
    /// The steps of the critical path.
    pub critical_path: Vec<SpanStep>,
}

/// A step of the critical path.
#[derive(Clone, Debug, Serialize)]
pub struct SpanStep {
    /// The span's name, or the thing that was waited for.
    pub name: String,
    /// What the time was spent on.
    pub kind: StepKind,
    /// The offset from the start of the rollout.
    pub offset: f64,
    /// Its duration.
    pub seconds: f64,
}
