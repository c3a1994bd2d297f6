//! A trace as a waterfall of spans.

use std::collections::BTreeSet;

use super::{
    scale::{show, tight},
    svg::{self, FAINT, GRID, INK, PALETTE, RED, Svg, plain},
};
use crate::signals::Span;

const WIDTH: f64 = 1200.0;
const MARGIN: f64 = 20.0;
/// Where bars begin, and end at the latest.
const LEFT: f64 = 480.0;
const RIGHT: f64 = WIDTH - 100.0;
const TOP: f64 = 96.0;
const ROW: f64 = 22.0;
const INDENT: f64 = 16.0;
const SIZE: f64 = 12.0;
/// Below this part of the trace a leaf shares a row with its neighbours.
const SLIGHT: f64 = 0.004;

struct Row<'a> {
    depth: usize,
    spans: &'a [&'a Span],
}

pub(super) fn draw(title: &str, spans: &[Span]) -> String {
    let begin = spans.iter().map(|span| span.start).min().unwrap_or(0);
    let end = spans.iter().map(|span| span.end).max().unwrap_or(0);
    let mut svg = Svg::default();
    svg.text((MARGIN, 32.0), plain(18.0, INK).bold(), title);
    if spans.is_empty() {
        svg.text((MARGIN, 64.0), plain(14.0, FAINT), "no data");
        return svg.finish(title, WIDTH, 90.0);
    }
    let total = seconds(end.saturating_sub(begin));
    let trace = spans.first().map_or("", |span| span.trace_id.as_str());
    let errors = spans.iter().filter(|span| span.status == "error").count();
    let errors = if errors == 0 { String::new() } else { format!(" · {errors} with an error") };
    let subtitle = format!("trace {trace} · {} spans · {}{errors}", spans.len(), show(total, "s"));
    svg.text((MARGIN, 54.0), plain(13.0, FAINT), &subtitle);
    let colors = Colors::of(spans);
    legend(&mut svg, &colors);
    let runs = runs(spans, total);
    let mut rows = Vec::new();
    let known: BTreeSet<&str> = spans.iter().map(|span| span.span_id.as_str()).collect();
    let roots: BTreeSet<&str> =
        spans.iter().map(|span| span.parent_id.as_str()).filter(|parent| !known.contains(parent)).collect();
    for root in roots {
        descend(&runs, root, 0, &mut rows);
    }
    #[allow(clippy::cast_precision_loss, reason = "hundreds of rows")]
    let height = TOP + rows.len() as f64 * ROW;
    let across = |nanos: u64| LEFT + seconds(nanos.saturating_sub(begin)) / total.max(1e-9) * (RIGHT - LEFT);
    svg.frame((MARGIN, TOP - 22.0), (WIDTH - 2.0 * MARGIN, height - TOP + 26.0));
    for tick in tight(total, "s", 6.0).ticks {
        let x = LEFT + tick / total.max(1e-9) * (RIGHT - LEFT);
        svg.line((x, TOP - 2.0), (x, height), GRID);
        svg.text((x, TOP - 8.0), plain(11.0, FAINT).anchor("middle"), &show(tick, "s"));
    }
    let mut y = TOP;
    for row in &rows {
        draw_row(&mut svg, row, y, &across, &colors);
        y += ROW;
    }
    svg.finish(title, WIDTH, height + MARGIN)
}

/// A colour for each service, and another for its calls.
struct Colors(Vec<(String, &'static str)>);

impl Colors {
    fn of(spans: &[Span]) -> Self {
        let names: BTreeSet<String> = spans.iter().map(colored_as).collect();
        Self(names.into_iter().zip(PALETTE.into_iter().cycle()).collect())
    }

    fn color(&self, span: &Span) -> &'static str {
        let name = colored_as(span);
        self.0.iter().find(|(known, _)| *known == name).map_or(FAINT, |(_, color)| color)
    }
}

fn colored_as(span: &Span) -> String {
    let service = span.resource.get("service.name").map_or("unknown service", String::as_str);
    if span.kind == "client" { format!("{service}, its calls") } else { service.to_owned() }
}

fn legend(svg: &mut Svg, colors: &Colors) {
    let mut x = WIDTH - MARGIN;
    let error = ("error".to_owned(), RED);
    for (name, color) in colors.0.iter().chain([&error]).rev() {
        x -= svg::width(name, SIZE);
        svg.text((x, 54.0), plain(SIZE, INK), name);
        x -= 18.0;
        svg.rect((x, 44.0), (12.0, 12.0), color, 2.0);
        x -= 14.0;
    }
}

/// Siblings by parent, and the runs of them that share a row.
type Runs<'a> = Vec<(&'a str, Vec<Vec<&'a Span>>)>;

fn runs(spans: &[Span], total: f64) -> Runs<'_> {
    let parents: BTreeSet<&str> = spans.iter().map(|span| span.parent_id.as_str()).collect();
    let slight = |span: &Span| {
        seconds(span.end.saturating_sub(span.start)) < total * SLIGHT
            && span.kind == "internal"
            && span.status == "unset"
            && span.links.is_empty()
            && !parents.contains(span.span_id.as_str())
    };
    let siblings = |parent: &&'_ str| {
        let mut children: Vec<&Span> = spans.iter().filter(|span| span.parent_id == *parent).collect();
        children.sort_by_key(|span| (span.start, span.end));
        children.chunk_by(|a, b| slight(a) && slight(b)).map(<[&Span]>::to_vec).collect()
    };
    parents.iter().map(|parent| (*parent, siblings(parent))).collect()
}

fn descend<'a>(runs: &'a Runs<'a>, parent: &str, depth: usize, rows: &mut Vec<Row<'a>>) {
    let Some((_, of_parent)) = runs.iter().find(|(known, _)| *known == parent) else { return };
    // A trace that came broken must not lead round in a circle.
    for run in of_parent.iter().filter(|_| depth < 64) {
        rows.push(Row { depth, spans: run });
        if let [span] = run.as_slice() {
            descend(runs, &span.span_id, depth + 1, rows);
        }
    }
}

fn draw_row(svg: &mut Svg, row: &Row<'_>, y: f64, across: &dyn Fn(u64) -> f64, colors: &Colors) {
    let Some(first) = row.spans.first() else { return };
    #[allow(clippy::cast_precision_loss, reason = "64 at most")]
    let x = MARGIN + 12.0 + row.depth as f64 * INDENT;
    if row.depth > 0 {
        svg.line((x - 10.0, y), (x - 10.0, y + ROW / 2.0), "#c4ccd4");
        svg.line((x - 10.0, y + ROW / 2.0), (x - 3.0, y + ROW / 2.0), "#c4ccd4");
    }
    let failed = first.status == "error";
    let tone = if failed { RED } else { INK };
    let style = if row.depth == 0 { plain(SIZE, tone).bold() } else { plain(SIZE, tone) };
    svg.text((x, y + 15.0), style, &svg::fit(&names(row.spans), LEFT - x - 14.0, SIZE));
    let mut right = LEFT;
    for span in row.spans {
        let (from, to) = (across(span.start), across(span.end));
        let color = if span.status == "error" { RED } else { colors.color(span) };
        svg.rect((from, y + 5.0), ((to - from).max(2.0), 12.0), color, 2.0);
        for event in &span.events {
            svg.dot((across(event.time).clamp(from, to.max(from + 2.0)), y + 11.0), 2.5, "#ffffff");
        }
        right = right.max(to);
    }
    let took: u64 = row.spans.iter().map(|span| span.end.saturating_sub(span.start)).sum();
    let mut said = show(seconds(took), "s");
    for (trace, _) in &first.links {
        said.push_str(if *trace == first.trace_id { "  ↪ link" } else { "  ↪ another trace" });
    }
    if failed && !first.status_message.is_empty() {
        said = format!("{said}  {}", first.status_message);
    }
    beside(svg, &said, (across(first.start), right), y + 15.0, if failed { RED } else { FAINT });
}

/// Behind the bar, or before it where there is more room.
fn beside(svg: &mut Svg, text: &str, (from, to): (f64, f64), y: f64, color: &'static str) {
    let style = plain(11.0, color);
    let (behind, before) = (WIDTH - MARGIN - 8.0 - to, from - LEFT);
    if svg::width(text, 11.0) + 12.0 > behind && before > behind {
        svg.text((from - 6.0, y), style.anchor("end"), &svg::fit(text, before - 8.0, 11.0));
    } else {
        svg.text((to + 6.0, y), style, &svg::fit(text, behind - 8.0, 11.0));
    }
}

fn names(spans: &[&Span]) -> String {
    spans.iter().map(|span| span.name.as_str()).collect::<Vec<_>>().join(", ")
}

#[allow(clippy::cast_precision_loss, reason = "a picture")]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signals::SpanEvent;

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
    fn every_span_has_its_place_and_errors_are_red() {
        let mut failed = span("3", "1", "apply <Service>", 20, 300);
        failed.status = "error";
        "refused & gone".clone_into(&mut failed.status_message);
        failed.events =
            vec![SpanEvent { name: "exception".to_owned(), time: 25_000_000, ..SpanEvent::default() }];
        let spans = [
            span("1", "", "rollout", 0, 1000),
            span("2", "1", "observe", 1, 2),
            span("5", "1", "render", 2, 3),
            failed,
            span("4", "3", "PATCH", 21, 290),
            span("9", "lost", "orphan", 400, 500),
        ];
        let picture = draw("A rollout", &spans);
        let texts: Vec<&str> =
            picture.split("<text").skip(1).filter_map(|text| text.split(['>', '<']).nth(1)).collect();
        for text in [
            "A rollout",
            "rollout",
            "observe, render",
            "apply &lt;Service&gt;",
            "PATCH",
            "orphan",
            "1 s",
            "280 ms  refused &amp; gone",
        ] {
            assert!(texts.contains(&text), "{text} is not among {texts:?}");
        }
        assert!(texts.iter().any(|text| text.contains("6 spans · 1 s · 1 with an error")), "{texts:?}");
        // The legend's and the bar's.
        assert_eq!(picture.matches(&format!("rx=\"2\" fill=\"{RED}\"")).count(), 2);
        assert_eq!(picture.matches("<circle").count(), 1);
        assert!(picture.ends_with("</svg>\n") && !picture.contains("NaN"), "{picture}");
    }

    #[test]
    fn nothing_is_said_of_nothing_and_a_circle_ends() {
        assert!(draw("t", &[]).contains("no data"));
        let circle = [span("1", "2", "a", 0, 1), span("2", "1", "b", 0, 1), span("3", "", "c", 0, 0)];
        assert!(draw("t", &circle).contains(">c</text>"));
    }
}
