//! The objects as a table. Pure; `comfy-table` lays it out.

use std::time::Duration;

use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Row, Table, presets::NOTHING,
};
use kube::{ResourceExt as _, core::DynamicObject};
use serde_json::Value;

/// In narrower terminals, engine, duration and age are left out, so that the URL or message has enough
/// columns.
const WIDE: usize = 110;
/// The columns that [`WIDE`] tables have only.
const WIDE_COLUMNS: [&str; 3] = ["ENGINE", "TOOK", "AGE"];
/// The width of tables in files and pipes.
const MAX_WIDTH: usize = 200;
const COLUMNS: [&str; 8] = ["KIND", "NAME", "ENGINE", "READY", "REASON", "TOOK", "AGE", "URL / MESSAGE"];

/// The state of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Not observed yet.
    Unknown,
    /// In progress.
    Waiting,
    /// `Ready`.
    Ready,
    /// Not `Ready`, and not in progress.
    Failed,
}

/// An object, and how long it took to reach its state.
pub struct Line<'a> {
    pub object: &'a DynamicObject,
    pub took: Duration,
}

/// The state at the current generation.
pub fn state(object: &DynamicObject) -> State {
    if object.data["status"]["observedGeneration"].as_i64() != object.metadata.generation {
        return State::Unknown;
    }
    let ready = ready_condition(object);
    match (text(&ready, "status").as_str(), text(&ready, "reason").as_str()) {
        ("True", _) => State::Ready,
        ("False" | "Unknown", "Progressing" | "Building" | "Deploying") => State::Waiting,
        ("False", _) => State::Failed,
        _ => State::Unknown,
    }
}

/// The `Ready` condition, or null.
fn ready_condition(object: &DynamicObject) -> Value {
    let conditions = object.data["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Ready")
        .cloned()
        .unwrap_or_default()
}

/// The URL, or the address inside the cluster.
fn url(status: &Value) -> String {
    match (text(status, "url"), text(status, "address")) {
        (url, address) if url.is_empty() && !address.is_empty() => format!("{address} (inside the cluster)"),
        (url, _) => url,
    }
}

/// The duration of the current generation's rollout, as the operator measured it; `None` before it is ready.
pub fn rollout_duration(object: &DynamicObject) -> Option<Duration> {
    let rollout = &object.data["status"]["rollout"];
    let time = |field: &str| rollout[field].as_str()?.parse::<jiff::Timestamp>().ok();
    let is_current =
        rollout["generation"].as_i64() == object.metadata.generation && rollout["outcome"] == "Ready";
    let (start, end) = time("startedAt").zip(time("endedAt")).filter(|_| is_current)?;
    Duration::try_from(end.duration_since(start)).ok()
}

/// A string field; empty if it is missing.
pub fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

/// The lines of the table, each narrower than `width`.
pub fn render(lines: &[Line<'_>], width: usize, color: bool) -> Vec<String> {
    let is_shown = |column: &&str| width >= WIDE || !WIDE_COLUMNS.contains(column);
    let columns: Vec<&str> = COLUMNS.into_iter().filter(is_shown).collect();
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(width.min(MAX_WIDTH) - 1).unwrap_or(u16::MAX));
    if color {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table.set_header(columns.iter().map(|column| Cell::new(column).add_attribute(Attribute::Dim)));
    for line in lines {
        let mut row = Row::from(columns.iter().map(|column| cell(column, line)).collect::<Vec<_>>());
        row.max_height(1);
        table.add_row(row);
    }
    for (column, name) in table.column_iter_mut().zip(&columns) {
        if *name != "URL / MESSAGE" {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
        if ["TOOK", "AGE"].contains(name) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| format!(" {}", line.trim_end())).collect()
}

fn cell(column: &str, line: &Line<'_>) -> Cell {
    let (object, status) = (line.object, &line.object.data["status"]);
    let (ready, state) = (ready_condition(object), state(object));
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let colored = |text: String| Cell::new(text).fg(state_color(state));
    match column {
        "KIND" => Cell::new(short_name(object)),
        "NAME" => Cell::new(object.name_any()),
        "ENGINE" => Cell::new(or_dash(text(status, "engine"))),
        "READY" => colored(or_dash(text(&ready, "status"))),
        "REASON" => colored(or_dash(text(&ready, "reason"))),
        "TOOK" => Cell::new(format!("{:.1} s", line.took.as_secs_f64())),
        "AGE" => Cell::new(age(object)),
        _ if state == State::Ready => Cell::new(url(status)),
        _ => Cell::new(text(&ready, "message").replace('\n', " ")),
    }
}

/// kubectl's short name of the kind.
fn short_name(object: &DynamicObject) -> &'static str {
    if object.types.as_ref().is_some_and(|types| types.kind == "ElpioFunction") { "efn" } else { "esvc" }
}

fn state_color(state: State) -> Color {
    match state {
        State::Ready => Color::DarkGreen,
        State::Failed => Color::DarkRed,
        State::Waiting | State::Unknown => Color::DarkYellow,
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

    fn object(name: &str, status: &str, reason: &str, observed: i64) -> DynamicObject {
        let condition = json!({"type": "Ready", "status": status, "reason": reason, "message": "a message of some length, about a failure"});
        let object = json!({
            "apiVersion": "elpio.io/v1alpha1", "kind": "ElpioService", "metadata": {"name": name, "generation": 2},
            "status": {"observedGeneration": observed, "conditions": [condition], "engine": "knative", "url": "http://greeter.default.apps.example.com"},
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_state_is_that_of_the_current_generation() {
        for (status, reason, observed, expected) in [
            ("True", "Reconciled", 2, State::Ready),
            ("True", "Reconciled", 1, State::Unknown),
            ("False", "Progressing", 2, State::Waiting),
            ("False", "RevisionFailed", 2, State::Failed),
        ] {
            let object = object("greeter", status, reason, observed);
            assert_eq!(state(&object), expected, "{status} {reason} {observed}");
        }
    }

    #[test]
    fn a_rollout_took_as_long_as_the_operator_reports() {
        let rollout = |generation: i64, outcome: &str| {
            let mut object = object("greeter", "True", "Reconciled", 2);
            let times = ("2026-11-22T21:24:27.460517Z", "2026-11-22T21:24:29.491176Z");
            object.data["status"]["rollout"] = json!({"generation": generation, "outcome": outcome, "startedAt": times.0, "endedAt": times.1});
            rollout_duration(&object)
        };
        assert_eq!(rollout(2, "Ready"), Some(Duration::from_micros(2_030_659)));
        assert_eq!(rollout(1, "Ready"), None, "an edit is in progress");
        assert_eq!(rollout(2, "TimedOut"), None);
        assert_eq!(rollout_duration(&object("greeter", "False", "Progressing", 2)), None);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_the_url_has_most_of_it() {
        let objects = [
            object("greeter", "True", "Reconciled", 2),
            object("greeter-broken", "False", "RevisionFailed", 2),
        ];
        let lines: Vec<Line<'_>> =
            objects.iter().map(|object| Line { object, took: Duration::from_millis(1234) }).collect();
        for width in [80, 100, 120, 200, usize::MAX] {
            let rendered = render(&lines, width, false);
            assert_eq!(rendered.len(), 3, "{rendered:?}");
            for line in &rendered {
                assert!(line.chars().count() < width, "{width}: {line:?}");
            }
            assert!(rendered[1].contains("http://greeter.default.apps"), "{width}: {rendered:?}");
        }
        let wide = render(&lines, 200, false).join("\n");
        assert!(wide.contains("http://greeter.default.apps.example.com") && wide.contains("1.2 s"), "{wide}");
        assert!(wide.contains("a message of some length, about a failure"), "{wide}");
    }
}
