//! Renders a timeline as lines of text. Pure; all external text passes through [`printable`].

use jiff::Timestamp;

use crate::{
    plugin::{
        critical_path::StepKind,
        timeline::{Timeline, TimelineChild, TimelineEvent, TimelinePart},
        values::{duration, seconds_between},
    },
    terminal::{Cell, Palette, Tone, columns, printable},
};

/// The maximum length of a bar.
const BAR: f64 = 24.0;
/// The share of the total below which steps of the critical path are omitted.
const NEGLIGIBLE: f64 = 0.01;
/// How many failed spans to list.
const MAX_FAILED: usize = 10;

/// Renders the timeline.
#[must_use]
pub fn draw(timeline: &Timeline, palette: Palette) -> String {
    let blocks = [
        header(timeline, palette),
        parts(timeline, palette),
        critical_path(timeline, palette),
        children(timeline, palette),
        events(timeline, palette),
        failed(timeline, palette),
        notes(timeline, palette),
    ];
    blocks.into_iter().filter(|block| !block.is_empty()).collect::<Vec<_>>().join("\n")
}

fn header(timeline: &Timeline, palette: Palette) -> String {
    let tone = match timeline.outcome.as_str() {
        "Ready" => Tone::Good,
        "TimedOut" => Tone::Bad,
        _ if timeline.ready.status == "False" && timeline.ready.reason != "Progressing" => Tone::Bad,
        _ => Tone::Warning,
    };
    let took = timeline.seconds.map_or_else(String::new, |seconds| {
        let word = if timeline.ended_at.is_some() { "after" } else { "for" };
        format!(" {word} {}", duration(seconds))
    });
    let generation = timeline.generation.map_or_else(String::new, |n| format!(", generation {n}"));
    let subject = format!("{} {}/{}{generation}", timeline.kind, timeline.namespace, timeline.name);
    let outcome = palette.paint(tone, &printable(&format!("{}{took}", timeline.outcome)));
    let mut rows = Vec::new();
    let mut row = |name: &str, text: String| {
        rows.push(vec![Cell::new(Tone::Dim, name), Cell::plain(&text)]);
    };
    let at = timeline.asked.at.map_or_else(String::new, |at| format!(" at {at}"));
    row("change", format!("{} by {}{at}", timeline.asked.what, timeline.asked.manager));
    if let Some(at) = timeline.started_at {
        row("started", format!("at {at}"));
    }
    let ready = &timeline.ready;
    row("ready", format!("{} {} {}", ready.status, ready.reason, ready.message));
    if let Some(id) = &timeline.trace_id {
        row("trace", format!("{id} {}", timeline.link.as_deref().unwrap_or_default()));
    }
    let rows = columns(&rows, palette);
    let rows = rows.trim_end().replace('\n', "\n  ");
    format!("{}: {outcome}\n  {rows}\n", palette.paint(Tone::Bold, &printable(&subject)))
}

/// A bar for this share.
fn bar(share: f64) -> String {
    // Between 0 and BAR.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let length = (share.clamp(0.0, 1.0) * BAR).round() as usize;
    "█".repeat(length)
}

fn share(seconds: f64, timeline: &Timeline) -> f64 {
    let whole = timeline.seconds.unwrap_or_default();
    if whole > 0.0 { seconds / whole } else { 0.0 }
}

fn head(names: &[&str]) -> Vec<Cell> {
    names.iter().map(|name| Cell::new(Tone::Dim, name)).collect()
}

fn is_longest(part: &TimelinePart, timeline: &Timeline) -> bool {
    timeline.longest.as_ref() == Some(part)
}

fn parts(timeline: &Timeline, palette: Palette) -> String {
    let Some(start) = timeline.started_at.filter(|_| !timeline.parts.is_empty()) else {
        return String::new();
    };
    let mut rows = vec![head(&["PART", "TOOK", "AT", ""])];
    rows.extend(timeline.parts.iter().map(|part| {
        let longest = is_longest(part, timeline);
        let tone = if longest { Tone::Bold } else { Tone::Plain };
        let mark = if longest { " ◀ longest" } else { "" };
        vec![
            Cell::new(tone, &part.name),
            Cell::plain(&duration(part.seconds)),
            Cell::new(Tone::Dim, &offset(start, Some(part.from))),
            Cell::new(tone, &format!("{}{mark}", bar(share(part.seconds, timeline)))),
        ]
    }));
    columns(&rows, palette)
}

fn critical_path(timeline: &Timeline, palette: Palette) -> String {
    let Some(spans) = timeline.spans.as_ref().filter(|spans| spans.count > 0) else { return String::new() };
    let title = format!("CRITICAL PATH of {} spans, {} calls", spans.count, spans.calls);
    let mut rows = vec![head(&[&title, "TOOK", "AT", ""])];
    let longest = timeline.longest.as_ref();
    let relevant = spans.critical_path.iter().filter(|step| share(step.seconds, timeline) >= NEGLIGIBLE);
    rows.extend(relevant.map(|step| {
        let is_longest = longest
            .is_some_and(|part| part.name == step.name && part.seconds.total_cmp(&step.seconds).is_eq());
        let tone = match (is_longest, step.kind) {
            (true, _) => Tone::Bold,
            (_, StepKind::Wait) => Tone::Warning,
            _ => Tone::Plain,
        };
        let mark = if is_longest { " ◀ longest" } else { "" };
        vec![
            Cell::new(tone, &step.name),
            Cell::plain(&duration(step.seconds)),
            Cell::new(Tone::Dim, &format!("+{}", duration(step.offset))),
            Cell::new(tone, &format!("{}{mark}", bar(share(step.seconds, timeline)))),
        ]
    }));
    columns(&rows, palette)
}

fn offset(start: Timestamp, at: Option<Timestamp>) -> String {
    // Times in objects have whole seconds, so they may precede the start by less than one.
    at.map_or_else(String::new, |at| match seconds_between(start, at) {
        before if before <= -1.0 => format!("-{}", duration(-before)),
        after => format!("+{}", duration(after)),
    })
}

fn children(timeline: &Timeline, palette: Palette) -> String {
    if timeline.children.is_empty() {
        return String::new();
    }
    let start = timeline.started_at;
    let time = |at: Option<Timestamp>| start.map_or_else(String::new, |start| offset(start, at));
    let ready = |child: &TimelineChild| match child.ready {
        None => Cell::new(Tone::Dim, "-"),
        Some(true) => Cell::new(Tone::Good, &format!("yes {}", time(child.since))),
        Some(false) => Cell::new(Tone::Bad, "no"),
    };
    let mut rows = vec![head(&["CHILD", "APPLIED", "READY", "WHY NOT"])];
    rows.extend(timeline.children.iter().map(|child| {
        vec![
            Cell::plain(&format!("{} {}", child.kind, child.name)),
            Cell::new(Tone::Dim, &time(child.applied_at)),
            ready(child),
            Cell::plain(&child.why),
        ]
    }));
    columns(&rows, palette)
}

fn events(timeline: &Timeline, palette: Palette) -> String {
    if timeline.events.is_empty() {
        return String::new();
    }
    let mut rows = vec![head(&["EVENT", "TYPE", "REASON", "COUNT", "NOTE"])];
    let time = |event: &TimelineEvent| timeline.started_at.map_or_else(String::new, |s| offset(s, event.at));
    rows.extend(timeline.events.iter().map(|event| {
        let tone = if event.type_ == "Warning" { Tone::Bad } else { Tone::Plain };
        vec![
            Cell::new(Tone::Dim, &time(event)),
            Cell::new(tone, &event.type_),
            Cell::new(tone, &event.reason),
            Cell::plain(&format!("×{}", event.count)),
            Cell::plain(&event.note),
        ]
    }));
    columns(&rows, palette)
}

fn failed(timeline: &Timeline, palette: Palette) -> String {
    let Some(spans) = timeline.spans.as_ref().filter(|spans| !spans.failed.is_empty()) else {
        return String::new();
    };
    let mut rows = vec![head(&["FAILED SPANS"])];
    rows.extend(spans.failed.iter().take(MAX_FAILED).map(|line| vec![Cell::new(Tone::Bad, line)]));
    if spans.failed.len() > MAX_FAILED {
        rows.push(head(&[&format!("and {} more", spans.failed.len() - MAX_FAILED)]));
    }
    columns(&rows, palette)
}

fn notes(timeline: &Timeline, palette: Palette) -> String {
    let line = |note: &String| palette.paint(Tone::Warning, &format!("note: {}", printable(note))) + "\n";
    timeline.notes.iter().map(line).collect()
}
