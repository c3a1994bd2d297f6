//! The objects as a table. Pure.

use std::time::Duration;

use kube::{ResourceExt as _, core::DynamicObject};
use serde_json::Value;

use crate::{screen::fit, terminal::Tone};

/// Narrower, and the age has no room.
const ROOMY: usize = 100;
/// An address or a reason needs as much.
const LAST: usize = 12;

/// How an object does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Nothing is said of it.
    Unknown,
    /// It is being worked on.
    Waiting,
    /// `Ready`.
    Ready,
    /// Not `Ready`, and not by itself.
    Failed,
}

/// An object, with how long it took to come to where it is.
pub struct Row<'a> {
    pub object: &'a DynamicObject,
    pub took: Duration,
}

/// Its state, for the current generation.
pub fn state(object: &DynamicObject) -> State {
    if object.data["status"]["observedGeneration"].as_i64() != object.metadata.generation {
        return State::Unknown;
    }
    let ready = ready(object);
    match (text(&ready, "status").as_str(), text(&ready, "reason").as_str()) {
        ("True", _) => State::Ready,
        ("False" | "Unknown", "Progressing" | "Building" | "Deploying") => State::Waiting,
        ("False", _) => State::Failed,
        _ => State::Unknown,
    }
}

/// The `Ready` condition; null when there is none.
pub fn ready(object: &DynamicObject) -> Value {
    let conditions = object.data["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Ready")
        .cloned()
        .unwrap_or_default()
}

/// Where it serves: for those outside, else for those inside.
pub fn place(status: &Value) -> String {
    match (text(status, "url"), text(status, "address")) {
        (url, address) if url.is_empty() && !address.is_empty() => format!("{address} (inside the cluster)"),
        (url, _) => url,
    }
}

/// How long the rollout of the current generation took, as the operator measured it; `None` before its end.
pub fn rolled_out(object: &DynamicObject) -> Option<Duration> {
    let rollout = &object.data["status"]["rollout"];
    let time = |field: &str| rollout[field].as_str()?.parse::<jiff::Timestamp>().ok();
    let of_this =
        rollout["generation"].as_i64() == object.metadata.generation && rollout["outcome"] == "Ready";
    let (from, to) = time("startedAt").zip(time("endedAt")).filter(|_| of_this)?;
    Duration::try_from(to.duration_since(from)).ok()
}

/// A field as text; empty when it is not there.
pub fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

/// `esvc` or `efn`, as kubectl has them.
pub fn short(object: &DynamicObject) -> &'static str {
    if object.types.as_ref().is_some_and(|types| types.kind == "ElpioFunction") { "efn" } else { "esvc" }
}

/// The lines, of at most that width. `paint` gives them colours.
pub fn lines(rows: &[Row<'_>], width: usize, paint: impl Fn(Tone, String) -> String) -> Vec<String> {
    let mut cells = vec![
        ["KIND", "NAME", "ENGINE", "READY", "REASON", "TOOK", "AGE", "URL, OR WHAT IS SAID"]
            .map(str::to_owned),
    ];
    cells.extend(rows.iter().map(of_row));
    let widths: Vec<usize> =
        (0..7).map(|column| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let tones = std::iter::once(Tone::Dim).chain(rows.iter().map(|row| tone(state(row.object))));
    cells.iter().zip(tones).map(|(row, tone)| line(row, &widths, width, tone, &paint)).collect()
}

fn line(
    row: &[String; 8],
    widths: &[usize],
    width: usize,
    tone: Tone,
    paint: &impl Fn(Tone, String) -> String,
) -> String {
    let mut line = String::from(" ");
    let mut used = 1;
    for (column, wide) in widths.iter().enumerate() {
        if column == 6 && width < ROOMY {
            continue;
        }
        // Times end at the same place.
        let cell = if [5, 6].contains(&column) {
            format!(" {:>wide$} ", row[column])
        } else {
            format!(" {:<wide$} ", row[column])
        };
        used += cell.chars().count();
        let colored = [3, 4].contains(&column) || matches!(tone, Tone::Dim);
        line.push_str(&if colored { paint(tone, cell) } else { cell });
    }
    let last = format!(" {}", fit(&row[7], width.saturating_sub(used + 2).max(LAST)));
    line.push_str(&if matches!(tone, Tone::Dim) { paint(tone, last) } else { last });
    line
}

fn of_row(row: &Row<'_>) -> [String; 8] {
    let (ready, status) = (ready(row.object), &row.object.data["status"]);
    let last = if state(row.object) == State::Ready { place(status) } else { text(&ready, "message") };
    let or_none = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    [
        short(row.object).to_owned(),
        row.object.name_any(),
        or_none(text(status, "engine")),
        or_none(text(&ready, "status")),
        or_none(text(&ready, "reason")),
        format!("{:.1} s", row.took.as_secs_f64()),
        age(row.object),
        last,
    ]
}

fn tone(state: State) -> Tone {
    match state {
        State::Ready => Tone::Good,
        State::Failed => Tone::Bad,
        State::Waiting | State::Unknown => Tone::Waiting,
    }
}

fn age(object: &DynamicObject) -> String {
    let created = object.creation_timestamp().map(|time| time.0);
    let seconds =
        created.map_or(0, |created| jiff::Timestamp::now().as_second() - created.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        _ => format!("{}h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(name: &str, status: &str, reason: &str, seen: i64) -> DynamicObject {
        let condition = json!({"type": "Ready", "status": status, "reason": reason, "message": "what is said of it, at some length"});
        let object = json!({
            "apiVersion": "elpio.io/v1alpha1", "kind": "ElpioService", "metadata": {"name": name, "generation": 2},
            "status": {"observedGeneration": seen, "conditions": [condition], "engine": "knative", "url": "http://greeter.default.apps.example.com"},
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_state_is_of_the_current_generation() {
        for (status, reason, seen, expected) in [
            ("True", "Reconciled", 2, State::Ready),
            ("True", "Reconciled", 1, State::Unknown),
            ("False", "Progressing", 2, State::Waiting),
            ("False", "RevisionFailed", 2, State::Failed),
        ] {
            assert_eq!(state(&object("greeter", status, reason, seen)), expected, "{status} {reason} {seen}");
        }
    }

    #[test]
    fn a_rollout_took_what_the_operator_says() {
        let rollout = |generation: i64, outcome: &str| {
            let mut object = object("greeter", "True", "Reconciled", 2);
            let times = ("2026-11-22T21:24:27.460517Z", "2026-11-22T21:24:29.491176Z");
            object.data["status"]["rollout"] = json!({"generation": generation, "outcome": outcome, "startedAt": times.0, "endedAt": times.1});
            rolled_out(&object)
        };
        assert_eq!(rollout(2, "Ready"), Some(Duration::from_micros(2_030_659)));
        assert_eq!(rollout(1, "Ready"), None, "an edit is on its way");
        assert_eq!(rollout(2, "TimedOut"), None);
        assert_eq!(rolled_out(&object("greeter", "False", "Progressing", 2)), None);
    }

    #[test]
    fn no_line_is_wider_than_the_window() {
        let objects = [
            object("greeter", "True", "Reconciled", 2),
            object("greeter-broken", "False", "RevisionFailed", 2),
        ];
        let rows: Vec<Row<'_>> =
            objects.iter().map(|object| Row { object, took: Duration::from_millis(1234) }).collect();
        for width in [80, 100, 120, 200] {
            for line in lines(&rows, width, |_, text| text) {
                assert!(line.chars().count() < width, "{width}: {line:?}");
            }
        }
        let wide = lines(&rows, 200, |_, text| text).join("\n");
        assert!(wide.contains("http://greeter.default.apps.example.com") && wide.contains("1.2 s"), "{wide}");
        assert!(wide.contains("what is said of it, at some length"), "where it does not serve, why: {wide}");
    }
}
