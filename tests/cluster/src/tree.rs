//! A trace as text: a tree that is pleasant to read. Pure.

use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

use crate::signals::Span;

/// Attributes worth a place on a line, in this order; the last parts of their names are enough there.
const SHOWN: &[&str] = &[
    "elpio.generation",
    "elpio.trigger",
    "elpio.attempt",
    "elpio.engine",
    "elpio.outcome",
    "http.response.status_code",
    "error.type",
];
/// A span that took less is no news.
const SLIGHT: Duration = Duration::from_millis(2);
const NAME_WIDTH: usize = 66;
/// The least that a name has.
const NARROW: usize = 36;
/// Columns for times and the first attributes.
const BESIDE: usize = 46;
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const BOLD: &str = "\x1b[1m";
const RESET: &str = "\x1b[0m";

/// The spans as a tree, one line each: name, duration, when it began (since the first), status, a few
/// attributes. Children stand under their parent by start; spans whose parent was not received stand under
/// its id. `color`: with escapes for a terminal.
#[must_use]
pub fn render(spans: &[Span], color: bool) -> String {
    write(spans, color, false, NAME_WIDTH)
}

/// The same, with siblings in a row that took no time, led to nothing and have nothing to tell on one line.
#[must_use]
pub fn brief(spans: &[Span], color: bool) -> String {
    write(spans, color, true, NAME_WIDTH)
}

/// The same where lines have so many columns: names are shorter there.
#[must_use]
pub fn brief_within(spans: &[Span], color: bool, columns: usize) -> String {
    write(spans, color, true, columns.saturating_sub(BESIDE).clamp(NARROW, NAME_WIDTH))
}

fn write(spans: &[Span], color: bool, brief: bool, name_width: usize) -> String {
    let mut tree = Tree {
        brief,
        name_width,
        spans,
        begin: spans.iter().map(|span| span.start).min().unwrap_or(0),
        color,
        text: String::new(),
    };
    let known: BTreeSet<&str> = spans.iter().map(|span| span.span_id.as_str()).collect();
    let missing: BTreeSet<&str> =
        spans.iter().map(|span| span.parent_id.as_str()).filter(|parent| !known.contains(parent)).collect();
    // Roots have the empty parent, which sorts first.
    for parent in missing {
        if !parent.is_empty() {
            let line = tree.paint(DIM, &format!("… span {parent}, not received"));
            let _ = writeln!(tree.text, "{line}");
        }
        tree.children(parent, "", parent.is_empty());
    }
    tree.text
}

struct Tree<'a> {
    spans: &'a [Span],
    begin: u64,
    color: bool,
    brief: bool,
    name_width: usize,
    text: String,
}

impl Tree<'_> {
    fn children(&mut self, parent: &str, indent: &str, top: bool) {
        let spans = self.spans;
        let mut children: Vec<&Span> = spans.iter().filter(|span| span.parent_id == parent).collect();
        children.sort_by_key(|span| (span.start, span.end));
        let rows = self.rows(&children);
        let last = rows.len().saturating_sub(1);
        for (index, row) in rows.into_iter().enumerate() {
            let (branch, below) = match (top, index == last) {
                (true, _) => ("", ""),
                (_, false) => ("├─ ", "│  "),
                (_, true) => ("└─ ", "   "),
            };
            self.line(row, &format!("{indent}{branch}"));
            for span in row {
                self.children(&span.span_id, &format!("{indent}{below}"), false);
            }
        }
    }

    /// Siblings by the line that they share.
    fn rows<'b>(&self, children: &'b [&'b Span]) -> Vec<&'b [&'b Span]> {
        children.chunk_by(|a, b| self.brief && self.is_slight(a) && self.is_slight(b)).collect()
    }

    fn is_slight(&self, span: &Span) -> bool {
        span.duration() < SLIGHT
            && span.kind == "internal"
            && span.status == "unset"
            && details(span).is_empty()
            && !self.spans.iter().any(|other| other.parent_id == span.span_id)
    }

    fn line(&mut self, row: &[&Span], lead: &str) {
        let Some(span) = row.first() else { return };
        let room = self.name_width.saturating_sub(lead.chars().count());
        let tone = if span.kind == "client" || row.len() > 1 { DIM } else { BOLD };
        let name = self.paint(tone, &fit(&names(row, room), room));
        let since = Duration::from_nanos(span.start.saturating_sub(self.begin));
        let took = row.iter().map(|span| span.duration()).sum();
        let time = format!("{:>8}  +{:<8}", short(took), short(since));
        let line = format!(
            "{}{name}  {time}  {}{}",
            self.paint(DIM, lead),
            self.status(span),
            self.paint(DIM, &details(span))
        );
        let _ = writeln!(self.text, "{}", line.trim_end());
    }

    fn status(&self, span: &Span) -> String {
        match span.status {
            "ok" => self.paint(GREEN, "ok "),
            "error" => {
                let why = format!("error: {} ", span.status_message);
                self.paint(RED, why.replace(": \u{20}", " ").as_str())
            }
            _ => String::new(),
        }
    }

    fn paint(&self, color: &str, text: &str) -> String {
        if self.color && !text.is_empty() { format!("{color}{text}{RESET}") } else { text.to_owned() }
    }
}

/// The names of a row; the first and the last, when all are too many.
fn names(row: &[&Span], room: usize) -> String {
    let names: Vec<&str> = row.iter().map(|span| span.name.as_str()).collect();
    match (names.join(", "), names.as_slice()) {
        (all, [first, .., last]) if all.chars().count() > room => {
            format!("{first} … {last}, {} steps", row.len())
        }
        (all, _) => all,
    }
}

fn details(span: &Span) -> String {
    let mut parts: Vec<String> = SHOWN
        .iter()
        .filter_map(|key| {
            let value = span.attributes.get(*key)?;
            let short = key.rsplit('.').next().unwrap_or(key);
            Some(format!("{short}={value}"))
        })
        .collect();
    parts.extend(span.links.iter().map(|(trace, _)| format!("link→{}", trace.get(..8).unwrap_or(trace))));
    parts.join(" ")
}

/// Exactly so wide; a longer text loses its middle, where a path says least.
fn fit(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return format!("{text:<width$}");
    }
    let half = width.saturating_sub(1) / 2;
    let start: String = text.chars().take(width.saturating_sub(1) - half).collect();
    let end: String = text.chars().skip(length - half).collect();
    format!("{start}…{end}")
}

/// Three digits or so.
fn short(time: Duration) -> String {
    match time {
        time if time < Duration::from_millis(1) => format!("{} µs", time.as_micros()),
        time if time < Duration::from_millis(100) => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        time if time < Duration::from_secs(1) => format!("{} ms", time.as_millis()),
        time => format!("{:.2} s", time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: &str, parent: &str, name: &str, start: u64, end: u64) -> Span {
        Span {
            span_id: id.to_owned(),
            parent_id: parent.to_owned(),
            name: name.to_owned(),
            kind: "internal",
            status: "unset",
            start: start * 1_000_000,
            end: end * 1_000_000,
            ..Span::default()
        }
    }

    #[test]
    fn children_stand_under_their_parents_and_orphans_under_an_id() {
        let mut failed = span("3", "1", "apply Service", 20, 30);
        failed.status = "error";
        "forbidden".clone_into(&mut failed.status_message);
        failed.attributes.insert("error.type".to_owned(), "forbidden".to_owned());
        let spans = [
            failed,
            span("1", "", "rollout ElpioService", 0, 1500),
            span("2", "1", "observe", 1, 5),
            span("4", "3", "PATCH /apis", 21, 29),
            span("9", "8", "lost", 40, 41),
        ];
        let tree = render(&spans, false);
        let starts: Vec<&str> =
            tree.lines().map(|line| line.split("  ").next().unwrap_or_default()).map(str::trim_end).collect();
        assert_eq!(starts[..3], ["rollout ElpioService", "├─ observe", "└─ apply Service"]);
        assert!(tree.lines().nth(3).is_some_and(|line| line.starts_with("   └─ PATCH /apis")), "{tree}");
        assert!(
            tree.lines().nth(2).is_some_and(|line| line.ends_with("error: forbidden type=forbidden")),
            "{tree}"
        );
        assert!(tree.ends_with("+40.0 ms\n") && tree.contains("… span 8, not received\n"), "{tree}");
        assert!(tree.starts_with("rollout ElpioService  ") && tree.contains("1.50 s"), "{tree}");
    }

    #[test]
    fn a_brief_tree_has_quiet_siblings_on_one_line() {
        let spans = [
            span("1", "", "reconcile", 0, 100),
            span("2", "1", "observe", 1, 2),
            span("3", "1", "validate", 2, 3),
            span("4", "1", "apply Service", 3, 4),
            span("5", "4", "PATCH", 3, 4),
            span("6", "1", "status", 4, 5),
        ];
        let tree = brief(&spans, false);
        let names: Vec<&str> = tree
            .lines()
            .filter_map(|line| line.split("  ").find(|part| !part.trim_matches(['│', ' ']).is_empty()))
            .collect();
        assert_eq!(
            names,
            ["reconcile", "├─ observe, validate", "├─ apply Service", "└─ PATCH", "└─ status"]
                .map(str::to_owned),
            "{tree}"
        );
        assert_eq!(render(&spans, false).lines().count(), 6);
    }

    #[test]
    fn a_long_name_keeps_its_ends() {
        assert_eq!(fit("abcdefghij", 5), "ab…ij");
        assert_eq!(fit("abc", 5), "abc  ");
    }
}
