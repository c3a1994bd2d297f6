//! `status` and `events`: rows of objects, conditions and Events. Pure; takes the time as an argument.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::{
    foreign::{
        fields::{integer, list, text, time},
        newest_condition,
    },
    plugin::values::{age, duration, seconds_between},
    terminal::{Cell, Palette, Tone, columns},
};

/// One object, as a row.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusLine {
    /// Its namespace.
    pub namespace: String,
    /// `ElpioService` or `ElpioFunction`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The engine in use.
    pub engine: String,
    /// `True`, `False` or `Unknown`; empty before the first status.
    pub ready: String,
    /// The reason.
    pub reason: String,
    /// The duration of its last rollout.
    pub seconds: Option<f64>,
    /// Its age in seconds.
    pub age: Option<f64>,
    /// The URL, or the message.
    pub note: String,
    /// Every condition: type, status, reason, message.
    pub conditions: Vec<[String; 4]>,
}

/// The row for an object.
#[must_use]
pub fn status_line(object: &Value, now: Timestamp) -> StatusLine {
    let ready = newest_condition(object, "Ready").unwrap_or(&Value::Null);
    let took = time(object, "/status/rollout/startedAt").zip(time(object, "/status/rollout/endedAt"));
    let url = [text(object, "/status/url"), text(object, "/status/address")];
    let is_ready = ready["status"] == "True";
    let url = url.into_iter().find(|url| !url.is_empty() && is_ready);
    let owned = |of: &Value, pointer: &str| text(of, pointer).to_owned();
    StatusLine {
        namespace: owned(object, "/metadata/namespace"),
        kind: owned(object, "/kind"),
        name: owned(object, "/metadata/name"),
        engine: owned(object, "/status/engine"),
        ready: owned(ready, "/status"),
        reason: owned(ready, "/reason"),
        seconds: took.map(|(from, to)| seconds_between(from, to)),
        age: time(object, "/metadata/creationTimestamp").map(|at| seconds_between(at, now)),
        note: url.map_or_else(|| owned(ready, "/message"), str::to_owned),
        conditions: list(object, "/status/conditions")
            .map(|found| ["/type", "/status", "/reason", "/message"].map(|pointer| owned(found, pointer)))
            .collect(),
    }
}

fn ready_tone(status: &str, reason: &str) -> Tone {
    match (status, reason) {
        ("True", _) => Tone::Good,
        ("False", reason) if !["Progressing", "Building"].contains(&reason) => Tone::Bad,
        _ => Tone::Warning,
    }
}

/// The rows as a table; with conditions if it shows a single object.
#[must_use]
pub fn status_table(lines: &[StatusLine], with_conditions: bool, palette: Palette) -> String {
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let names = ["NAMESPACE", "KIND", "NAME", "ENGINE", "READY", "REASON", "TOOK", "AGE", "URL / MESSAGE"];
    let mut rows = vec![names.map(|name| Cell::new(Tone::Dim, name)).to_vec()];
    for line in lines {
        let tone = ready_tone(&line.ready, &line.reason);
        rows.push(vec![
            Cell::plain(&line.namespace),
            Cell::plain(if line.kind == "ElpioFunction" { "efn" } else { "esvc" }),
            Cell::new(Tone::Bold, &line.name),
            Cell::plain(&or_dash(&line.engine)),
            Cell::new(tone, &or_dash(&line.ready)),
            Cell::new(tone, &or_dash(&line.reason)),
            Cell::plain(&line.seconds.map_or_else(|| "-".to_owned(), duration)),
            Cell::plain(&line.age.map_or_else(|| "-".to_owned(), age)),
            Cell::plain(&line.note),
        ]);
    }
    let mut text = columns(&rows, palette);
    if with_conditions {
        let names = ["CONDITION", "STATUS", "REASON", "MESSAGE"];
        let mut rows = vec![names.map(|name| Cell::new(Tone::Dim, name)).to_vec()];
        for [kind, status, reason, message] in lines.iter().flat_map(|line| &line.conditions) {
            let tone = ready_tone(status, reason);
            rows.push(vec![
                Cell::plain(kind),
                Cell::new(tone, status),
                Cell::new(tone, reason),
                Cell::plain(message),
            ]);
        }
        text = format!("{text}\n{}", columns(&rows, palette));
    }
    text
}

/// One Event, as a row.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventLine {
    /// Its last occurrence.
    pub last: Option<Timestamp>,
    /// `Normal` or `Warning`.
    #[serde(rename = "type")]
    pub type_: String,
    /// Its reason.
    pub reason: String,
    /// The regarding object.
    pub object: String,
    /// How often it occurred.
    pub count: i64,
    /// Its note.
    pub note: String,
}

/// The rows for Events of the core API, sorted by last occurrence.
#[must_use]
pub fn event_lines(events: &[Value]) -> Vec<EventLine> {
    let mut lines: Vec<EventLine> = events
        .iter()
        .map(|event| EventLine {
            last: ["/series/lastObservedTime", "/eventTime", "/lastTimestamp"]
                .into_iter()
                .find_map(|pointer| time(event, pointer)),
            type_: text(event, "/type").to_owned(),
            reason: text(event, "/reason").to_owned(),
            object: [text(event, "/involvedObject/kind"), text(event, "/involvedObject/name")].join("/"),
            count: integer(event, "/series/count").unwrap_or(1),
            note: text(event, "/message").to_owned(),
        })
        .collect();
    lines.sort_by_key(|line| line.last);
    lines
}

/// The Events as a table.
#[must_use]
pub fn event_table(lines: &[EventLine], now: Timestamp, palette: Palette) -> String {
    let names = ["LAST", "TYPE", "REASON", "OBJECT", "COUNT", "NOTE"];
    let mut rows = vec![names.map(|name| Cell::new(Tone::Dim, name)).to_vec()];
    rows.extend(lines.iter().map(|line| {
        let tone = if line.type_ == "Warning" { Tone::Bad } else { Tone::Plain };
        let last = line.last.map_or_else(String::new, |at| age(seconds_between(at, now)));
        vec![
            Cell::new(Tone::Dim, &last),
            Cell::new(tone, &line.type_),
            Cell::new(tone, &line.reason),
            Cell::plain(&line.object),
            Cell::plain(&format!("×{}", line.count)),
            Cell::plain(&line.note),
        ]
    }));
    columns(&rows, palette)
}
