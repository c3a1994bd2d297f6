//! A trace as text: one line per span, children below their parent. Pure. The `termtree` crate draws the
//! branches.

use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

use termtree::{GlyphPalette, Tree};

use crate::{telemetry::otlp::model::Span, units};

/// Attributes that are shown, in this order, by the last part of their names.
const SHOWN_ATTRIBUTES: &[&str] = &[
    "elpio.generation",
    "elpio.trigger",
    "elpio.attempt",
    "elpio.engine",
    "elpio.outcome",
    "http.response.status_code",
    "error.type",
];
/// Shorter spans without children share a line with their neighbours in a brief tree.
const NEGLIGIBLE: Duration = Duration::from_millis(2);
const MAX_NAME_WIDTH: usize = 66;
const MIN_NAME_WIDTH: usize = 36;
/// Columns for durations and the first attributes.
const DETAIL_WIDTH: usize = 46;
const GLYPHS: GlyphPalette = GlyphPalette {
    middle_item: "├─",
    last_item: "└─",
    item_indent: " ",
    middle_skip: "│ ",
    last_skip: "  ",
    skip_indent: " ",
};
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const BOLD: &str = "\x1b[1m";
const RESET: &str = "\x1b[0m";

/// The spans as a tree, sorted by start time. Each line has name, duration, start relative to the first span,
/// status and a few attributes. Spans whose parent was not received are listed below the parent's id. `color`
/// adds terminal escapes.
#[must_use]
pub fn render(spans: &[Span], color: bool) -> String {
    Renderer::new(spans, color, false, MAX_NAME_WIDTH).render()
}

/// As [`render`], but siblings that are short, successful and without children and attributes share a line.
#[must_use]
pub fn brief(spans: &[Span], color: bool) -> String {
    Renderer::new(spans, color, true, MAX_NAME_WIDTH).render()
}

/// As [`brief`], with shorter names where lines have fewer columns.
#[must_use]
pub fn brief_within(spans: &[Span], color: bool, columns: usize) -> String {
    let name_width = columns.saturating_sub(DETAIL_WIDTH).clamp(MIN_NAME_WIDTH, MAX_NAME_WIDTH);
    Renderer::new(spans, color, true, name_width).render()
}

struct Renderer<'a> {
    spans: &'a [Span],
    start: u64,
    color: bool,
    brief: bool,
    name_width: usize,
}

impl<'a> Renderer<'a> {
    fn new(spans: &'a [Span], color: bool, brief: bool, name_width: usize) -> Self {
        let start = spans.iter().map(|span| span.start).min().unwrap_or(0);
        Self { spans, start, color, brief, name_width }
    }

    fn render(&self) -> String {
        let received: BTreeSet<&str> = self.spans.iter().map(|span| span.span_id.as_str()).collect();
        let parents = self.spans.iter().map(|span| span.parent_id.as_str());
        // The empty parent of roots sorts first.
        let missing: BTreeSet<&str> = parents.filter(|parent| !received.contains(parent)).collect();
        let mut text = String::new();
        for parent in missing {
            if parent.is_empty() {
                self.trees(parent, 0).iter().for_each(|root| text.push_str(&root.to_string()));
            } else {
                let label = self.paint(DIM, &format!("… span {parent}, not received"));
                let tree = Tree::new(label).with_glyphs(GLYPHS).with_leaves(self.trees(parent, 1));
                text.push_str(&tree.to_string());
            }
        }
        text.lines().fold(String::new(), |text, line| text + line.trim_end() + "\n")
    }

    /// The subtrees of the children of a span, at this depth.
    fn trees(&self, parent: &str, depth: usize) -> Vec<Tree<String>> {
        let mut children: Vec<&Span> = self.spans.iter().filter(|span| span.parent_id == parent).collect();
        children.sort_by_key(|span| (span.start, span.end));
        let lines = children.chunk_by(|a, b| self.brief && self.is_negligible(a) && self.is_negligible(b));
        lines
            .map(|spans| {
                let below = spans.iter().flat_map(|span| self.trees(&span.span_id, depth + 1));
                Tree::new(self.line(spans, depth)).with_glyphs(GLYPHS).with_leaves(below)
            })
            .collect()
    }

    fn is_negligible(&self, span: &Span) -> bool {
        span.duration() < NEGLIGIBLE
            && span.kind == "internal"
            && span.status == "unset"
            && details(span).is_empty()
            && !self.spans.iter().any(|other| other.parent_id == span.span_id)
    }

    /// The text of the spans that share a line, without branches.
    fn line(&self, spans: &[&Span], depth: usize) -> String {
        let Some(span) = spans.first() else { return String::new() };
        let width = self.name_width.saturating_sub(depth * 3);
        let style = if span.kind == "client" || spans.len() > 1 { DIM } else { BOLD };
        let name = self.paint(style, &fit(&names(spans, width), width));
        let offset = Duration::from_nanos(span.start.saturating_sub(self.start));
        let time = spans.iter().map(|span| span.duration()).sum();
        let times = format!("{:>8}  +{:<8}", units::duration(time), units::duration(offset));
        format!("{name}  {times}  {}{}", self.status(span), self.paint(DIM, &details(span)))
    }

    fn status(&self, span: &Span) -> String {
        match span.status {
            "ok" => self.paint(GREEN, "ok "),
            "error" => {
                let error = format!("error: {} ", span.status_message);
                self.paint(RED, error.replace(": \u{20}", " ").as_str())
            }
            _ => String::new(),
        }
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.color && !text.is_empty() { format!("{style}{text}{RESET}") } else { text.to_owned() }
    }
}

/// The names of spans that share a line, or the first and the last if all are too long.
fn names(spans: &[&Span], width: usize) -> String {
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    match (names.join(", "), names.as_slice()) {
        (all, [first, .., last]) if all.chars().count() > width => {
            format!("{first} … {last}, {} steps", spans.len())
        }
        (all, _) => all,
    }
}

fn details(span: &Span) -> String {
    let attribute = |key: &&str| {
        let value = span.attributes.get(*key)?;
        Some(format!("{}={value}", key.rsplit('.').next().unwrap_or(key)))
    };
    let links = span.links.iter().map(|(trace, _)| format!("link→{}", trace.get(..8).unwrap_or(trace)));
    SHOWN_ATTRIBUTES.iter().filter_map(attribute).chain(links).collect::<Vec<_>>().join(" ")
}

/// Pads the text to the width, or cuts its middle: paths differ at their ends.
fn fit(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return format!("{text:<width$}");
    }
    let half = width.saturating_sub(1) / 2;
    let mut fitted: String = text.chars().take(width.saturating_sub(1) - half).collect();
    let _ = write!(fitted, "…{}", text.chars().skip(length - half).collect::<String>());
    fitted
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
    fn children_are_below_their_parent_and_orphans_below_its_id() {
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
        let lines: Vec<&str> = tree.lines().collect();
        let names: Vec<&str> =
            lines.iter().map(|line| line.split("  ").next().unwrap_or_default().trim_end()).collect();
        assert_eq!(names[..3], ["rollout ElpioService", "├─ observe", "└─ apply Service"]);
        assert!(lines[3].starts_with("   └─ PATCH /apis"), "{tree}");
        assert!(lines[2].ends_with("error: forbidden type=forbidden"), "{tree}");
        assert_eq!(lines[4], "… span 8, not received");
        assert!(lines[5].starts_with("└─ lost  ") && lines[5].ends_with("+40.0 ms"), "{tree}");
        let columns: BTreeSet<usize> =
            lines.iter().filter_map(|line| line.chars().position(|char| char == '+')).collect();
        assert_eq!((columns.len(), lines[0].contains("1.50 s")), (1, true), "durations are aligned\n{tree}");
    }

    #[test]
    fn a_brief_tree_has_negligible_siblings_on_one_line() {
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
