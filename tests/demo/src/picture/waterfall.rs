//! A trace as a waterfall of spans. It interprets no span by name.

use std::collections::BTreeSet;

use elpio_cluster::otlp::Span;
use plotters::{
    drawing::IntoDrawingArea as _,
    prelude::{Circle, PathElement, RGBColor, Rectangle, SVGBackend, Text},
    style::{
        Color as _,
        text_anchor::{HPos, Pos, VPos},
    },
};

use crate::picture::{
    format::{fit, format_value},
    theme::{
        Area, BACKGROUND, BORDER, DrawingError, ERROR, FAINT, GRID, PANEL, TEXT, bold, series_color, text,
    },
};

const WIDTH: i32 = 1200;
const MARGIN: i32 = 20;
/// The range of the bars.
const LEFT: i32 = 480;
const RIGHT: i32 = WIDTH - 100;
const TOP: i32 = 96;
const ROW: i32 = 22;
const INDENT: i32 = 16;
const SIZE: i32 = 12;
/// Spans without children that are shorter than this part of the trace share a row with their neighbours.
const NEGLIGIBLE: f64 = 0.004;
/// A corrupt trace may contain a cycle.
const MAX_DEPTH: i32 = 64;

struct Row<'a> {
    depth: i32,
    spans: Vec<&'a Span>,
}

pub(super) fn draw(title: &str, spans: &[Span]) -> String {
    let waterfall = Waterfall::new(spans);
    let rows = i32::try_from(waterfall.rows.len()).unwrap_or(i32::MAX);
    let height = if spans.is_empty() { 90 } else { TOP + rows * ROW + MARGIN };
    let size = (WIDTH.unsigned_abs(), height.unsigned_abs());
    let mut svg = String::new();
    waterfall.draw(&mut svg, title, size).expect("drawing into a string cannot fail");
    svg
}

struct Waterfall<'a> {
    spans: &'a [Span],
    start: u64,
    /// Seconds.
    total: f64,
    rows: Vec<Row<'a>>,
    /// The services, and their client calls, by their names.
    colors: Vec<(String, RGBColor)>,
}

impl<'a> Waterfall<'a> {
    fn new(spans: &'a [Span]) -> Self {
        let start = spans.iter().map(|span| span.start).min().unwrap_or(0);
        let end = spans.iter().map(|span| span.end).max().unwrap_or(0);
        let names: BTreeSet<String> = spans.iter().map(color_name).collect();
        let colors = names.into_iter().enumerate().map(|(index, name)| (name, series_color(index))).collect();
        let total = seconds(end.saturating_sub(start)).max(1e-9);
        let mut waterfall = Self { spans, start, total, rows: Vec::new(), colors };
        let received: BTreeSet<&str> = spans.iter().map(|span| span.span_id.as_str()).collect();
        let parents = spans.iter().map(|span| span.parent_id.as_str());
        let roots: BTreeSet<&str> = parents.filter(|parent| !received.contains(parent)).collect();
        for root in roots {
            waterfall.add_children(root, 0);
        }
        waterfall
    }

    fn add_children(&mut self, parent: &str, depth: i32) {
        if depth >= MAX_DEPTH {
            return;
        }
        let spans: &'a [Span] = self.spans;
        let mut children: Vec<&'a Span> = spans.iter().filter(|span| span.parent_id == parent).collect();
        children.sort_by_key(|span| (span.start, span.end));
        let rows: Vec<Vec<&'a Span>> = children
            .chunk_by(|a, b| self.is_negligible(a) && self.is_negligible(b))
            .map(<[&'a Span]>::to_vec)
            .collect();
        for spans in rows {
            let parent = if let [span] = spans.as_slice() { Some(&span.span_id) } else { None };
            self.rows.push(Row { depth, spans: spans.clone() });
            if let Some(parent) = parent {
                self.add_children(parent, depth + 1);
            }
        }
    }

    fn is_negligible(&self, span: &Span) -> bool {
        seconds(span.end.saturating_sub(span.start)) < self.total * NEGLIGIBLE
            && span.kind == "internal"
            && span.status == "unset"
            && span.links.is_empty()
            && !self.spans.iter().any(|other| other.parent_id == span.span_id)
    }

    fn x(&self, time: u64) -> i32 {
        self.x_of(seconds(time.saturating_sub(self.start)))
    }

    fn x_of(&self, offset: f64) -> i32 {
        #[allow(clippy::cast_possible_truncation, reason = "pixels")]
        let pixels = (offset / self.total * f64::from(RIGHT - LEFT)).round() as i32;
        LEFT + pixels
    }

    fn color(&self, span: &Span) -> RGBColor {
        if span.status == "error" {
            return ERROR;
        }
        let name = color_name(span);
        self.colors.iter().find(|(known, _)| *known == name).map_or(FAINT, |(_, color)| *color)
    }

    fn draw(&self, svg: &mut String, title: &str, size: (u32, u32)) -> Result<(), DrawingError> {
        let area = SVGBackend::with_string(svg, size).into_drawing_area();
        area.fill(&BACKGROUND)?;
        area.draw(&Text::new(fit(title, f64::from(WIDTH), 18), (MARGIN, 20), bold(18, TEXT)))?;
        if self.spans.is_empty() {
            area.draw(&Text::new("no data", (MARGIN, 54), text(14, FAINT)))?;
            return Ok(area.present()?);
        }
        area.draw(&Text::new(self.subtitle(), (MARGIN, 44), text(13, FAINT)))?;
        self.draw_legend(&area)?;
        let bottom = TOP + i32::try_from(self.rows.len())? * ROW;
        let frame = [(MARGIN, TOP - 22), (WIDTH - MARGIN, bottom + 4)];
        area.draw(&Rectangle::new(frame, PANEL.filled()))?;
        area.draw(&Rectangle::new(frame, BORDER.stroke_width(1)))?;
        self.draw_axis(&area, bottom)?;
        let mut y = TOP;
        for row in &self.rows {
            self.draw_row(&area, row, y)?;
            y += ROW;
        }
        Ok(area.present()?)
    }

    fn subtitle(&self) -> String {
        let trace = self.spans.first().map_or("", |span| span.trace_id.as_str());
        let errors = self.spans.iter().filter(|span| span.status == "error").count();
        let errors = if errors == 0 { String::new() } else { format!(" · {errors} with an error") };
        format!("trace {trace} · {} spans · {}{errors}", self.spans.len(), format_value(self.total, "s"))
    }

    fn draw_legend(&self, area: &Area<'_>) -> Result<(), DrawingError> {
        let mut x = WIDTH - MARGIN;
        let error = ("error".to_owned(), ERROR);
        for (name, color) in self.colors.iter().chain([&error]).rev() {
            x -= i32::try_from(name.chars().count())? * SIZE * 55 / 100;
            area.draw(&Text::new(name.clone(), (x, 45), text(SIZE, TEXT)))?;
            x -= 18;
            area.draw(&Rectangle::new([(x, 44), (x + 12, 56)], color.filled()))?;
            x -= 14;
        }
        Ok(())
    }

    /// Ticks at multiples of 1, 2 or 5 times a power of ten.
    fn draw_axis(&self, area: &Area<'_>, bottom: i32) -> Result<(), DrawingError> {
        let power = 10_f64.powf((self.total / 6.0).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|factor| factor * power)
            .find(|step| self.total / step <= 6.0)
            .unwrap_or(self.total);
        let style = text(11, FAINT).pos(Pos::new(HPos::Center, VPos::Bottom));
        for tick in (0..=6).map(|tick| f64::from(tick) * step).filter(|tick| *tick <= self.total) {
            let x = self.x_of(tick);
            area.draw(&PathElement::new([(x, TOP - 2), (x, bottom)], GRID))?;
            area.draw(&Text::new(format_value(tick, "s"), (x, TOP - 6), style.clone()))?;
        }
        Ok(())
    }

    fn draw_row(&self, area: &Area<'_>, row: &Row<'_>, y: i32) -> Result<(), DrawingError> {
        let Some(first) = row.spans.first() else { return Ok(()) };
        let (x, middle) = (MARGIN + 12 + row.depth * INDENT, y + ROW / 2);
        if row.depth > 0 {
            area.draw(&PathElement::new([(x - 10, y), (x - 10, middle), (x - 3, middle)], BORDER))?;
        }
        let color = if first.status == "error" { ERROR } else { TEXT };
        let style = if row.depth == 0 { bold(SIZE, color) } else { text(SIZE, color) };
        let names: Vec<&str> = row.spans.iter().map(|span| span.name.as_str()).collect();
        let names = fit(&names.join(", "), f64::from(LEFT - x - 14), SIZE);
        area.draw(&Text::new(names, (x, middle), style.pos(Pos::new(HPos::Left, VPos::Center))))?;
        let mut right = LEFT;
        for span in &row.spans {
            let (from, to) = (self.x(span.start), self.x(span.end).max(self.x(span.start) + 2));
            area.draw(&Rectangle::new([(from, y + 5), (to, y + 17)], self.color(span).filled()))?;
            for event in &span.events {
                area.draw(&Circle::new((self.x(event.time).clamp(from, to), y + 11), 2, PANEL.filled()))?;
            }
            right = right.max(to);
        }
        draw_beside(area, &details(row), (self.x(first.start), right), middle, first.status == "error")
    }
}

/// The duration of a row, its links, and its error.
fn details(row: &Row<'_>) -> String {
    let took: u64 = row.spans.iter().map(|span| span.end.saturating_sub(span.start)).sum();
    let mut details = format_value(seconds(took), "s");
    if let Some(first) = row.spans.first() {
        for (trace, _) in &first.links {
            details.push_str(if *trace == first.trace_id { "  ↪ link" } else { "  ↪ another trace" });
        }
        if first.status == "error" && !first.status_message.is_empty() {
            details = format!("{details}  {}", first.status_message);
        }
    }
    details
}

/// Draws text after the bar, or before it if there is more room.
fn draw_beside(
    area: &Area<'_>,
    details: &str,
    (from, to): (i32, i32),
    y: i32,
    is_error: bool,
) -> Result<(), DrawingError> {
    let style = text(11, if is_error { ERROR } else { FAINT });
    let (after, before) = (f64::from(WIDTH - MARGIN - 8 - to), f64::from(from - LEFT));
    let (text, x, side) = if fit(details, after - 12.0, 11) != details && before > after {
        (fit(details, before - 8.0, 11), from - 6, HPos::Right)
    } else {
        (fit(details, after - 8.0, 11), to + 6, HPos::Left)
    };
    area.draw(&Text::new(text, (x, y), style.pos(Pos::new(side, VPos::Center))))?;
    Ok(())
}

/// The service, and its client calls apart.
fn color_name(span: &Span) -> String {
    let service = span.resource.get("service.name").map_or("unknown service", String::as_str);
    if span.kind == "client" { format!("{service}, client") } else { service.to_owned() }
}

#[allow(clippy::cast_precision_loss, reason = "a picture")]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
#[path = "waterfall_test.rs"]
mod tests;
