//! One Event as an object: its name, its note, its annotations. Pure.

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1::ObjectReference,
        events::v1::{Event, EventSeries},
    },
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::api::ObjectMeta;
use sha2::{Digest, Sha256};

use crate::{
    api::{annotation, event::NewEvent},
    cluster::events::recorder::Regarding,
    telemetry::{EventRecord, SpanIds},
};

/// The limit that the API server sets for a note, in bytes.
const NOTE_LIMIT: usize = 1024;

/// The reporting controller of every Event.
pub const CONTROLLER: &str = "elpio.io/operator";

/// How often it was seen, when last, and by whom.
#[derive(Clone, Copy, Debug)]
pub struct EventCount<'a> {
    /// Occurrences so far.
    pub count: i32,
    /// The last one.
    pub last: Timestamp,
    /// The reporting instance.
    pub instance: &'a str,
}

/// The Event as the API server is to hold it.
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
            (annotation::TRACE_ID.to_owned(), ids.trace_id.clone()),
            (annotation::TRACEPARENT.to_owned(), ids.traceparent()),
        ]
        .into()
    });
    let related = event.related.clone().map(|child| ObjectReference {
        api_version: Some(child.api_version),
        kind: Some(child.kind),
        name: Some(child.name),
        namespace: Some(regarding.namespace.clone()),
        ..ObjectReference::default()
    });
    Event {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(regarding.namespace.clone()),
            annotations,
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(counted.last)),
        type_: Some(event.type_.to_owned()),
        reason: Some(event.reason.to_owned()),
        action: Some(event.action.to_owned()),
        note: Some(event_note(&event.note, ids.map(|ids| ids.trace_id.as_str()))),
        regarding: Some(ObjectReference {
            api_version: Some(regarding.api_version.to_owned()),
            kind: Some(regarding.kind.as_str().to_owned()),
            name: Some(regarding.name.clone()),
            namespace: Some(regarding.namespace.clone()),
            uid: Some(regarding.uid.clone()),
            ..ObjectReference::default()
        }),
        related,
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(counted.instance.to_owned()),
        series: (counted.count > 1)
            .then_some(EventSeries { count: counted.count, last_observed_time: MicroTime(counted.last) }),
        ..Event::default()
    }
}

/// The same occurrence for the log.
#[must_use]
pub fn event_record(regarding: &Regarding, event: &NewEvent) -> EventRecord {
    EventRecord {
        kind: regarding.kind,
        api_version: regarding.api_version,
        namespace: regarding.namespace.clone(),
        name: regarding.name.clone(),
        uid: regarding.uid.clone(),
        type_: event.type_,
        reason: event.reason,
        action: event.action,
        note: event.note.clone(),
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
    for part in
        [&regarding.uid, &generation, &regarding.rebuild, event.type_, event.reason, event.action, &related]
    {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let digest = hash.finalize().iter().take(8).fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
    format!("{}.{digest:016x}", regarding.name)
}

/// A note within its limit, that always ends with the trace where there is one.
#[must_use]
pub fn event_note(text: &str, trace: Option<&str>) -> String {
    let tail = trace.map(|id| format!(" (trace {id})")).unwrap_or_default();
    let room = NOTE_LIMIT - tail.len();
    if text.len() <= room {
        format!("{text}{tail}")
    } else {
        format!("{}…{tail}", truncate(text, room - '…'.len_utf8()))
    }
}

/// The longest beginning of at most `limit` bytes that ends on a character boundary.
#[must_use]
pub fn truncate(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

#[cfg(test)]
#[path = "object_test.rs"]
mod tests;
