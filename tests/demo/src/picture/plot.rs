//! One panel as a plot: lines, stacked areas or a heatmap, with axes and a legend. It runs no query.

use std::collections::BTreeMap;

use plotters::{
    chart::{ChartBuilder, ChartContext},
    coord::types::RangedCoordf64,
    prelude::{AreaSeries, Cartesian2d, Circle, LineSeries, RGBColor, Rectangle, SVGBackend, Text},
    style::{
        Color as _, ShapeStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

use crate::picture::{
    PlottedPanel, Series,
    format::{axis_factor, fit, format_time, format_value},
    theme::{ACCENT, Area, BORDER, DrawingError, FAINT, GRID, TEXT, bold, lighten, series_color, text},
};

const LABEL: i32 = 11;
const LEGEND_LINE: i32 = 16;
const LEGEND_LINES: i32 = 2;
/// Ticks of each axis, about.
const TICKS: usize = 4;

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

pub(super) fn draw(area: &Area<'_>, panel: &PlottedPanel) -> Result<(), DrawingError> {
    let (width, height) = dimensions(area);
    area.draw(&Text::new(fit(&panel.title, f64::from(width - 24), 13), (12, 12), bold(13, TEXT)))?;
    let mut series: Vec<&Series> =
        panel.series.iter().filter(|series| series.finite().next().is_some()).collect();
    if series.is_empty() {
        let style = text(13, FAINT).pos(Pos::new(HPos::Center, VPos::Center));
        area.draw(&Text::new("no data", (width / 2, height / 2), style))?;
        return Ok(());
    }
    if panel.kind == "heatmap" {
        return draw_heatmap(area, panel, &series);
    }
    series.sort_by(|a, b| b.max().total_cmp(&a.max()).then_with(|| a.name.cmp(&b.name)));
    let (plot, legend) = area.split_vertically(height - LEGEND_LINE * LEGEND_LINES - 6);
    if panel.stacked {
        draw_stacked(&plot, panel, &series)?;
    } else {
        draw_lines(&plot, panel, &series)?;
    }
    draw_legend(&legend, &series)
}

fn dimensions(area: &Area<'_>) -> (i32, i32) {
    let (width, height) = area.dim_in_pixel();
    (i32::try_from(width).unwrap_or(i32::MAX), i32::try_from(height).unwrap_or(i32::MAX))
}

/// A chart with a time axis and values up to `max`, which are divided by the returned factor.
fn chart<'a, 'b>(
    area: &'a Area<'b>,
    panel: &PlottedPanel,
    max: f64,
) -> Result<(Chart<'a, 'b>, f64), DrawingError> {
    let factor = axis_factor(max, &panel.unit);
    let top = if max > 0.0 { max / factor * 1.05 } else { 1.0 };
    let (start, end) = panel.range;
    let mut chart = builder(area).build_cartesian_2d(start..end.max(start + 1.0), 0.0..top)?;
    let value = |value: &f64| format_value(value * factor, &panel.unit);
    configure_mesh(&mut chart, &value)?;
    Ok((chart, factor))
}

fn builder<'a, 'b>(area: &'a Area<'b>) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut builder = ChartBuilder::on(area);
    builder.margin_top(36).margin_right(22).x_label_area_size(22).y_label_area_size(72);
    builder
}

fn configure_mesh(chart: &mut Chart<'_, '_>, value: &dyn Fn(&f64) -> String) -> Result<(), DrawingError> {
    chart
        .configure_mesh()
        .max_light_lines(0)
        .bold_line_style(GRID)
        .axis_style(BORDER)
        .label_style(text(LABEL, FAINT))
        .x_labels(TICKS)
        .y_labels(TICKS)
        .x_label_formatter(&|time| format_time(*time))
        .y_label_formatter(&value)
        .draw()?;
    Ok(())
}

fn line_style(color: RGBColor) -> ShapeStyle {
    color.stroke_width(2)
}

fn draw_lines(area: &Area<'_>, panel: &PlottedPanel, series: &[&Series]) -> Result<(), DrawingError> {
    let max = series.first().map_or(0.0, |series| series.max());
    let (mut chart, factor) = chart(area, panel, max)?;
    for (index, series) in series.iter().enumerate().rev() {
        let color = series_color(index);
        for points in without_gaps(series) {
            let points: Vec<(f64, f64)> =
                points.iter().map(|(time, value)| (*time, value / factor)).collect();
            if let [point] = points.as_slice() {
                chart.draw_series([Circle::new(*point, 2, color.filled())])?;
            } else {
                chart.draw_series(LineSeries::new(points, line_style(color)))?;
            }
        }
    }
    Ok(())
}

/// The finite points, split where at least one is missing.
fn without_gaps(series: &Series) -> Vec<Vec<(f64, f64)>> {
    let steps = series.points.windows(2).map(|pair| pair[1].0 - pair[0].0);
    let step = steps.fold(f64::INFINITY, f64::min);
    let finite: Vec<(f64, f64)> = series.finite().collect();
    finite.chunk_by(|a, b| b.0 - a.0 < step * 1.5).map(<[(f64, f64)]>::to_vec).collect()
}

fn draw_stacked(area: &Area<'_>, panel: &PlottedPanel, series: &[&Series]) -> Result<(), DrawingError> {
    let times = series.iter().flat_map(|series| &series.points).map(|point| sort_key(point.0));
    let mut sums: BTreeMap<u64, f64> = times.map(|time| (time, 0.0)).collect();
    let mut layers: Vec<Vec<(f64, f64)>> = Vec::new();
    for series in series {
        for (time, value) in series.finite() {
            *sums.entry(sort_key(time)).or_default() += value.max(0.0);
        }
        layers.push(sums.iter().map(|(time, sum)| (f64::from_bits(*time), *sum)).collect());
    }
    let (mut chart, factor) = chart(area, panel, sums.values().copied().fold(0.0, f64::max))?;
    // The highest layer first: each covers the lower part of the one before.
    for (index, layer) in layers.iter().enumerate().rev() {
        let color = series_color(index);
        let points = layer.iter().map(|(time, sum)| (*time, sum / factor));
        let area = AreaSeries::new(points, 0.0, lighten(color, 0.35)).border_style(line_style(color));
        chart.draw_series(area)?;
    }
    Ok(())
}

/// Unix times are not negative, so that their bits sort like their values.
fn sort_key(time: f64) -> u64 {
    time.max(0.0).to_bits()
}

/// Columns of time, rows of buckets; darker cells have more values.
fn draw_heatmap(area: &Area<'_>, panel: &PlottedPanel, series: &[&Series]) -> Result<(), DrawingError> {
    let bound = |name: &str| if name == "+Inf" { Some(f64::INFINITY) } else { name.parse::<f64>().ok() };
    let mut buckets: Vec<(f64, &Series)> =
        series.iter().filter_map(|series| Some((bound(&series.name)?, *series))).collect();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let cells = cells(&buckets);
    let rows: Vec<usize> = cells.iter().map(|(row, ..)| *row).collect();
    let first = rows.iter().min().copied().unwrap_or(0).saturating_sub(1);
    let last = rows.iter().max().copied().unwrap_or(buckets.len().saturating_sub(1));
    let max = cells.iter().map(|(_, _, count)| *count).fold(0.0, f64::max);
    let (start, end) = panel.range;
    let vertical = to_f64(first)..to_f64(last + 1);
    let mut chart = builder(area).build_cartesian_2d(start..end.max(start + 1.0), vertical)?;
    // The line above a row is the bucket's upper bound.
    let value = |row: &f64| {
        let bucket = (1..=buckets.len()).find(|index| (to_f64(*index) - row).abs() < 0.01);
        match bucket.and_then(|index| buckets.get(index - 1)) {
            Some((bound, _)) if bound.is_finite() => format_value(*bound, &panel.unit),
            Some(_) => "∞".to_owned(),
            None => String::new(),
        }
    };
    configure_mesh(&mut chart, &value)?;
    let columns = buckets.iter().map(|(_, series)| series.points.len()).max().unwrap_or(1).max(1);
    let width = (end - start) / to_f64(columns);
    chart.draw_series(cells.iter().map(|(row, time, count)| {
        let shade = lighten(ACCENT, 0.2 + 0.8 * (count / max).sqrt());
        let left = time.min(end - width);
        Rectangle::new([(left, to_f64(*row)), (left + width, to_f64(*row + 1))], shade.filled())
    }))?;
    Ok(())
}

/// (bucket, time, count) of the values inside each bucket: buckets are cumulative.
fn cells(buckets: &[(f64, &Series)]) -> Vec<(usize, f64, f64)> {
    let count_at = |series: &Series, time: f64| {
        let point = series.points.iter().find(|point| point.0.to_bits() == time.to_bits());
        point.map_or(0.0, |point| point.1)
    };
    let mut cells = Vec::new();
    for (row, (_, series)) in buckets.iter().enumerate() {
        for (time, cumulative) in series.finite() {
            let below = row.checked_sub(1).map_or(0.0, |below| count_at(buckets[below].1, time));
            let count = cumulative - below;
            if count.is_finite() && count > 1e-9 {
                cells.push((row, time, count));
            }
        }
    }
    cells
}

/// As many names as two lines have room for, and the number of the others.
fn draw_legend(area: &Area<'_>, series: &[&Series]) -> Result<(), DrawingError> {
    let width = dimensions(area).0 - 24;
    let (mut x, mut line) = (12, 0);
    for (index, series_shown) in series.iter().enumerate() {
        let name = if series_shown.name.is_empty() { "value" } else { &series_shown.name };
        let name = fit(name, f64::from(width - 90), LABEL);
        let name_width = i32::try_from(name.chars().count()).unwrap_or(i32::MAX) * LABEL * 55 / 100;
        let (is_last_line, remaining) = (line == LEGEND_LINES - 1, series.len() - index - 1);
        let reserved = if is_last_line && remaining > 0 { 60 } else { 0 };
        if x > 12 && x + 14 + name_width + reserved > width {
            if is_last_line {
                let more = format!("+ {} more", remaining + 1);
                area.draw(&Text::new(more, (x, line * LEGEND_LINE), text(LABEL, FAINT)))?;
                return Ok(());
            }
            (x, line) = (12, line + 1);
        }
        let y = line * LEGEND_LINE;
        area.draw(&Rectangle::new([(x, y + 1), (x + 9, y + 10)], series_color(index).filled()))?;
        area.draw(&Text::new(name, (x + 14, y), text(LABEL, TEXT)))?;
        x += 14 + name_width + 12;
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "dozens")]
fn to_f64(count: usize) -> f64 {
    count as f64
}
