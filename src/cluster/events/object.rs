//! One Event object: its name, note and annotations, and whether an existing one is Elpio's. Pure.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1 as core_v1,
        events::v1::{Event, EventSeries},
    },
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::api::ObjectMeta;
use sha2::{Digest, Sha256};

use crate::{
    api::{annotation, event::NewEvent},
    telemetry::{ObjectReference, SpanIds},
};

/// The API server's limit for a note, in bytes.
const NOTE_LIMIT: usize = 1024;

/// The reporting controller of every Event.
pub const CONTROLLER: &str = "elpio.io/operator";

/// The object that Events are about.
#[derive(Clone, Debug)]
pub struct Regarding {
    /// Its reference.
    pub object: Arc<ObjectReference>,
    /// The generation at the time of the occurrence.
    pub generation: i64,
    /// The newest value of `elpio.io/rebuild`, or "".
    pub rebuild: String,
    /// When this transition was first stored. An Event with this name observed at or after that time is the
    /// same occurrence, published before a restart or a change of leader. `None`: a new occurrence.
    pub since: Option<Timestamp>,
    /// The span of the occurrence; `None`: the current one.
    pub ids: Option<SpanIds>,
}

/// The occurrences that an Event counts.
#[derive(Clone, Copy, Debug)]
pub struct EventCount<'a> {
    /// How many so far.
    pub count: i32,
    /// The first one.
    pub first: Timestamp,
    /// The last one.
    pub last: Timestamp,
    /// The reporting instance.
    pub instance: &'a str,
}

/// An existing Event with the name of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundEvent {
    /// Another controller's, or about another object.
    Foreign,
    /// Ours.
    Own {
        /// The occurrences that it counts.
        count: i32,
        /// The first of them.
        first: Option<Timestamp>,
        /// The last of them.
        last: Option<Timestamp>,
    },
}

/// Whether the Event with our name is ours.
#[must_use]
pub fn found_event(found: &Event, regarding: &Regarding) -> FoundEvent {
    let uid = found.regarding.as_ref().and_then(|object| object.uid.as_ref());
    if found.reporting_controller.as_deref() != Some(CONTROLLER) || uid != Some(&regarding.object.uid) {
        return FoundEvent::Foreign;
    }
    let first = found.event_time.as_ref().map(|at| at.0);
    let last = found.series.as_ref().map(|series| series.last_observed_time.0).or(first);
    FoundEvent::Own { count: found.series.as_ref().map_or(1, |series| series.count), first, last }
}

/// The Event to store.
#[must_use]
pub fn build_event(
    regarding: &Regarding,
    event: &NewEvent,
    name: &str,
    ids: Option<&SpanIds>,
    counted: &EventCount<'_>,
) -> Event {
    let annotations = ids.map(|ids| {
        [
            (annotation::TRACE_ID.to_owned(), ids.trace_id()),
            (annotation::TRACEPARENT.to_owned(), ids.traceparent()),
        ]
        .into()
    });
    let object = &*regarding.object;
    let related = event.related.clone().map(|child| core_v1::ObjectReference {
        api_version: Some(child.api_version),
        kind: Some(child.kind),
        name: Some(child.name),
        namespace: Some(object.namespace.clone()),
        ..core_v1::ObjectReference::default()
    });
    Event {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(object.namespace.clone()),
            annotations,
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(counted.first)),
        type_: Some(event.type_.to_owned()),
        reason: Some(event.reason.to_owned()),
        action: Some(event.action.to_owned()),
        note: Some(event_note(&event.note, ids.map(SpanIds::trace_id).as_deref())),
        regarding: Some(core_v1::ObjectReference {
            api_version: Some(object.api_version.to_owned()),
            kind: Some(object.kind.as_str().to_owned()),
            name: Some(object.name.clone()),
            namespace: Some(object.namespace.clone()),
            uid: Some(object.uid.clone()),
            ..core_v1::ObjectReference::default()
        }),
        related,
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(counted.instance.to_owned()),
        series: (counted.count > 1)
            .then_some(EventSeries { count: counted.count, last_observed_time: MicroTime(counted.last) }),
        ..Event::default()
    }
}

/// The same occurrence has the same name in every replica and after every restart.
#[must_use]
pub fn event_name(regarding: &Regarding, event: &NewEvent) -> String {
    let mut hash = Sha256::new();
    let generation = regarding.generation.to_string();
    let related = event
        .related
        .as_ref()
        .map(|r| format!("{}/{}/{}", r.api_version, r.kind, r.name))
        .unwrap_or_default();
    let Regarding { object, rebuild, .. } = regarding;
    let parts =
        [&object.uid, &generation, rebuild, event.type_, event.reason, event.action, &related, &event.cause];
    // Without a cause, the name stays as earlier versions derived it.
    for part in &parts[..parts.len() - usize::from(event.cause.is_empty())] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let digest = hash.finalize().iter().take(8).fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
    format!("{}.{digest:016x}", object.name)
}

/// The next name to try when foreign Events have taken the earlier ones.
#[must_use]
pub fn alternative_name(name: &str, taken: u32) -> String {
    if taken == 0 { name.to_owned() } else { format!("{name}-{taken}") }
}

/// A note within the limit that always ends with the trace ID, if there is one.
#[must_use]
pub fn event_note(text: &str, trace: Option<&str>) -> String {
    let tail = trace.map(|id| [" (trace ", id, ")"].concat()).unwrap_or_default();
    let room = NOTE_LIMIT - tail.len();
    if text.len() <= room {
        [text, &tail].concat()
    } else {
        [truncate(text, room - '…'.len_utf8()), "…", &tail].concat()
    }
}

/// The longest prefix of at most `limit` bytes that ends on a character boundary.
#[must_use]
pub fn truncate(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

#[cfg(test)]
#[path = "object_test.rs"]
mod tests;
