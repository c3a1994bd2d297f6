//! A plot: axes, curves or areas or the cells of a heatmap, and a legend.

use std::collections::BTreeMap;

use super::{
    Curve, PlottedPanel,
    scale::{Axis, axis, clock, show},
    svg::{self, FAINT, GRID, INK, PALETTE, Svg, plain},
};

const SMALL: f64 = 11.0;
const LEGEND: f64 = 16.0;
const LEGEND_LINES: usize = 2;

/// The inside of a plot, and what its ends mean.
struct Place {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    window: (f64, f64),
}

impl Place {
    fn x(&self, time: f64) -> f64 {
        let (from, to) = self.window;
        self.left + ((time - from) / (to - from).max(1e-9)).clamp(0.0, 1.0) * (self.right - self.left)
    }

    fn y(&self, value: f64, max: f64) -> f64 {
        self.bottom - (value / max).clamp(0.0, 1.0) * (self.bottom - self.top)
    }
}

pub(super) fn draw(svg: &mut Svg, panel: &PlottedPanel, (x, y): (f64, f64), (width, height): (f64, f64)) {
    svg.text((x + 12.0, y + 22.0), plain(13.0, INK).bold(), &svg::fit(&panel.title, width - 24.0, 13.0));
    let heat = panel.kind == "heatmap";
    #[allow(clippy::cast_precision_loss, reason = "two")]
    let legend = if heat { 0.0 } else { LEGEND * LEGEND_LINES as f64 };
    let place = Place {
        left: x + 74.0,
        right: x + width - 16.0,
        top: y + 38.0,
        bottom: y + height - legend - 26.0,
        window: panel.window,
    };
    let curves: Vec<&Curve> = panel.curves.iter().filter(|curve| peak(curve).is_some()).collect();
    if curves.is_empty() {
        let middle = (f64::midpoint(place.left, place.right), f64::midpoint(place.top, place.bottom));
        svg.text(middle, plain(13.0, FAINT).anchor("middle"), "no data");
        return;
    }
    for (time, text) in clock(panel.window, 4.0) {
        let at = place.x(time);
        svg.line((at, place.top), (at, place.bottom), GRID);
        // A label at an end must not leave the frame.
        svg.text(
            (at.clamp(x + 30.0, x + width - 30.0), place.bottom + 16.0),
            plain(SMALL, FAINT).anchor("middle"),
            &text,
        );
    }
    if heat {
        heatmap(svg, panel, &curves, &place);
        return;
    }
    let shown =
        if panel.stacked { stack(svg, panel, curves, &place) } else { overlay(svg, panel, curves, &place) };
    names(svg, &shown, (x + 12.0, place.bottom + 34.0), width - 24.0);
}

fn peak(curve: &Curve) -> Option<f64> {
    curve.points.iter().map(|point| point.1).filter(|value| value.is_finite()).max_by(f64::total_cmp)
}

fn grid(svg: &mut Svg, axis: &Axis, unit: &str, place: &Place) {
    for tick in &axis.ticks {
        let y = place.y(*tick, axis.max);
        svg.line((place.left, y), (place.right, y), GRID);
        svg.text((place.left - 6.0, y + 4.0), plain(SMALL, FAINT).anchor("end"), &show(*tick, unit));
    }
}

/// Highest first, each with its colour.
fn by_peak(mut curves: Vec<&Curve>) -> Vec<(&Curve, &'static str)> {
    curves.sort_by(|a, b| {
        peak(b).unwrap_or(0.0).total_cmp(&peak(a).unwrap_or(0.0)).then_with(|| a.name.cmp(&b.name))
    });
    curves.into_iter().zip(PALETTE.into_iter().cycle()).collect()
}

fn overlay<'a>(
    svg: &mut Svg,
    panel: &PlottedPanel,
    curves: Vec<&'a Curve>,
    place: &Place,
) -> Vec<(&'a Curve, &'static str)> {
    let curves = by_peak(curves);
    let axis = axis(curves.first().and_then(|(curve, _)| peak(curve)).unwrap_or(0.0), &panel.unit, 4.0);
    grid(svg, &axis, &panel.unit, place);
    for (curve, color) in curves.iter().rev() {
        for piece in pieces(curve) {
            let points: Vec<(f64, f64)> =
                piece.iter().map(|(time, value)| (place.x(*time), place.y(*value, axis.max))).collect();
            match points.as_slice() {
                [alone] => svg.dot(*alone, 2.2, color),
                more => svg.curve(more, color),
            }
        }
    }
    curves
}

/// Where points follow each other without a gap.
fn pieces(curve: &Curve) -> Vec<Vec<(f64, f64)>> {
    let step = curve.points.windows(2).map(|pair| pair[1].0 - pair[0].0).fold(f64::INFINITY, f64::min);
    let finite: Vec<(f64, f64)> = curve.points.iter().copied().filter(|point| point.1.is_finite()).collect();
    finite.chunk_by(|a, b| b.0 - a.0 < step * 1.5).map(<[(f64, f64)]>::to_vec).collect()
}

fn stack<'a>(
    svg: &mut Svg,
    panel: &PlottedPanel,
    curves: Vec<&'a Curve>,
    place: &Place,
) -> Vec<(&'a Curve, &'static str)> {
    let curves = by_peak(curves);
    let mut sums: BTreeMap<u64, f64> = BTreeMap::new();
    let mut layers = Vec::new();
    // Not below zero, so that their bits sort as they do.
    let times = curves.iter().flat_map(|(curve, _)| &curve.points).map(|point| point.0.max(0.0).to_bits());
    sums.extend(times.map(|time| (time, 0.0)));
    for (curve, color) in &curves {
        let below: Vec<(f64, f64)> = sums.iter().map(|(time, sum)| (f64::from_bits(*time), *sum)).collect();
        for (time, value) in curve.points.iter().filter(|point| point.1.is_finite()) {
            *sums.entry(time.max(0.0).to_bits()).or_default() += value.max(0.0);
        }
        let above: Vec<(f64, f64)> = sums.iter().map(|(time, sum)| (f64::from_bits(*time), *sum)).collect();
        layers.push((below, above, *color));
    }
    let axis = axis(sums.values().copied().fold(0.0, f64::max), &panel.unit, 4.0);
    grid(svg, &axis, &panel.unit, place);
    let points = |layer: &[(f64, f64)]| -> Vec<(f64, f64)> {
        layer.iter().map(|(t, v)| (place.x(*t), place.y(*v, axis.max))).collect()
    };
    for (below, above, color) in layers.iter().filter(|(below, above, _)| below != above) {
        let (line, mut area) = (points(above), points(above));
        area.extend(points(below).into_iter().rev());
        svg.area(&area, color, 0.35);
        svg.curve(&line, color);
    }
    curves
}

/// Columns of time, rows of buckets, the darker the more.
fn heatmap(svg: &mut Svg, panel: &PlottedPanel, curves: &[&Curve], place: &Place) {
    let mut buckets: Vec<(f64, &Curve)> =
        curves.iter().filter_map(|curve| Some((bound(&curve.name)?, *curve))).collect();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    // A bucket holds those below it: what is its own is the difference.
    let at = |curve: &Curve, time: f64| {
        curve.points.iter().find(|point| point.0.to_bits() == time.to_bits()).map_or(0.0, |point| point.1)
    };
    let times: Vec<f64> = buckets
        .first()
        .map(|(_, curve)| curve.points.iter().map(|point| point.0).collect())
        .unwrap_or_default();
    let own = |row: usize, time: f64| {
        let below = row.checked_sub(1).map_or(0.0, |below| at(buckets[below].1, time));
        let value = at(buckets[row].1, time) - below;
        if value.is_finite() && value > 1e-9 { value } else { 0.0 }
    };
    let cells: Vec<Vec<f64>> =
        (0..buckets.len()).map(|row| times.iter().map(|time| own(row, *time)).collect()).collect();
    let most = cells.iter().flatten().copied().fold(0.0, f64::max);
    let filled = |row: &usize| cells[*row].iter().any(|value| *value > 0.0);
    let (first, last) = match ((0..cells.len()).find(filled), (0..cells.len()).rev().find(filled)) {
        (Some(first), Some(last)) => (first.saturating_sub(1), last + 1),
        _ => (0, cells.len()),
    };
    let rows = last.min(cells.len()).saturating_sub(first).max(1);
    #[allow(clippy::cast_precision_loss, reason = "dozens")]
    let (high, wide) =
        ((place.bottom - place.top) / rows as f64, (place.right - place.left) / times.len().max(1) as f64);
    let labels = rows.div_ceil(6);
    for (index, row) in (first..first + rows).enumerate() {
        #[allow(clippy::cast_precision_loss, reason = "dozens")]
        let top = place.bottom - (index + 1) as f64 * high;
        if index % labels == 0 {
            svg.text(
                (place.left - 6.0, top + 4.0),
                plain(SMALL, FAINT).anchor("end"),
                &bound_text(buckets[row].0, &panel.unit),
            );
        }
        svg.line((place.left, top), (place.right, top), GRID);
        for (time, value) in times.iter().zip(&cells[row]).filter(|(_, value)| **value > 0.0) {
            let x = place.x(*time).min(place.right - wide);
            svg.rect((x, top + 0.5), (wide.max(1.0) + 0.2, high - 1.0), shade(value / most), 0.0);
        }
    }
}

fn bound(name: &str) -> Option<f64> {
    if name == "+Inf" { Some(f64::INFINITY) } else { name.parse().ok() }
}

fn bound_text(bound: f64, unit: &str) -> String {
    if bound.is_finite() { show(bound, unit) } else { "more".to_owned() }
}

fn shade(part: f64) -> &'static str {
    match part.sqrt() {
        part if part > 0.8 => "#123f8c",
        part if part > 0.6 => "#2f6fde",
        part if part > 0.4 => "#6a9cec",
        part if part > 0.2 => "#a5c5f5",
        _ => "#d3e3fb",
    }
}

/// As many as two lines hold; how many more there are.
fn names(svg: &mut Svg, curves: &[(&Curve, &'static str)], (left, top): (f64, f64), room: f64) {
    let (mut x, mut y, mut line) = (left, top, 1);
    for (index, (curve, color)) in curves.iter().enumerate() {
        let name = if curve.name.is_empty() { "value" } else { &curve.name };
        let name = svg::fit(name, room - 90.0, SMALL);
        let rest = curves.len() - index - 1;
        let tail = if line == LEGEND_LINES && rest > 0 { 60.0 } else { 0.0 };
        let wide = 14.0 + svg::width(&name, SMALL) + 12.0;
        if x + wide + tail > left + room + 12.0 && x > left {
            if line == LEGEND_LINES {
                svg.text((x, y), plain(SMALL, FAINT), &format!("+ {} more", rest + 1));
                return;
            }
            (x, y, line) = (left, y + LEGEND, line + 1);
        }
        svg.rect((x, y - 8.0), (9.0, 9.0), color, 2.0);
        svg.text((x + 14.0, y), plain(SMALL, INK), &name);
        x += wide;
    }
}
