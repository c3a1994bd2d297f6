//! A dashboard as a grid: tiles for single numbers, and frames for plots. It runs no query.

use plotters::{
    chart::ChartBuilder,
    drawing::IntoDrawingArea as _,
    prelude::{AreaSeries, Rectangle, SVGBackend, Text},
    style::Color as _,
};

use crate::picture::{
    PlottedPanel, Series,
    format::{fit, format_value},
    plot,
    theme::{ACCENT, Area, BACKGROUND, BORDER, DrawingError, FAINT, PANEL, TEXT, bold, lighten, text},
};

const WIDTH: u32 = 1200;
const MARGIN: u32 = 16;
const GAP: u32 = 12;
/// The height of the title.
const TOP: u32 = 52;
const TILES_PER_LINE: usize = 6;
const TILE_HEIGHT: u32 = 88;
const PLOTS_PER_LINE: usize = 3;
const PLOT_HEIGHT: u32 = 250;

/// Panels side by side.
struct Line<'a> {
    panels: &'a [PlottedPanel],
    height: u32,
}

pub(super) fn draw(title: &str, panels: &[PlottedPanel]) -> String {
    let lines = lines(panels);
    let height = TOP + lines.iter().map(|line| line.height + GAP).sum::<u32>().max(40) + MARGIN - GAP;
    let mut svg = String::new();
    draw_into(&mut svg, title, &lines, height).expect("drawing into a string cannot fail");
    svg
}

fn draw_into(svg: &mut String, title: &str, lines: &[Line<'_>], height: u32) -> Result<(), DrawingError> {
    let root = SVGBackend::with_string(svg, (WIDTH, height)).into_drawing_area();
    root.fill(&BACKGROUND)?;
    root.draw(&Text::new(fit(title, f64::from(WIDTH), 18), (16, 20), bold(18, TEXT)))?;
    if lines.is_empty() {
        root.draw(&Text::new("no data", (16, 56), text(14, FAINT)))?;
    }
    let mut y = TOP;
    for line in lines {
        let count = u32::try_from(line.panels.len()).unwrap_or(u32::MAX);
        let width = (WIDTH - 2 * MARGIN + GAP) / count - GAP;
        let mut x = MARGIN;
        for panel in line.panels {
            let position = (i32::try_from(x)?, i32::try_from(y)?);
            let area = root.clone().shrink(position, (width, line.height));
            draw_panel(&area, panel, width, line.height)?;
            x += width + GAP;
        }
        y += line.height + GAP;
    }
    root.present()?;
    Ok(())
}

/// Consecutive tiles, or consecutive plots, on as few lines as possible, which are about equally full.
fn lines(panels: &[PlottedPanel]) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    for group in panels.chunk_by(|a, b| is_tile(a) == is_tile(b)) {
        let (per_line, height) = match group.first() {
            Some(first) if is_tile(first) => (TILES_PER_LINE, TILE_HEIGHT),
            _ => (PLOTS_PER_LINE, PLOT_HEIGHT),
        };
        let mut rest = group;
        for remaining in (1..=group.len().div_ceil(per_line)).rev() {
            let (panels, after) = rest.split_at(rest.len().div_ceil(remaining));
            lines.push(Line { panels, height });
            rest = after;
        }
    }
    lines
}

fn is_tile(panel: &PlottedPanel) -> bool {
    panel.kind == "stat"
}

fn draw_panel(area: &Area<'_>, panel: &PlottedPanel, width: u32, height: u32) -> Result<(), DrawingError> {
    let corners = [(0, 0), (i32::try_from(width)? - 1, i32::try_from(height)? - 1)];
    area.draw(&Rectangle::new(corners, PANEL.filled()))?;
    area.draw(&Rectangle::new(corners, BORDER.stroke_width(1)))?;
    if is_tile(panel) { draw_tile(area, panel, width) } else { plot::draw(area, panel) }
}

fn draw_tile(area: &Area<'_>, panel: &PlottedPanel, width: u32) -> Result<(), DrawingError> {
    let room = f64::from(width) - 24.0;
    area.draw(&Text::new(fit(&panel.title, room, 12), (12, 12), text(12, FAINT)))?;
    let last_value = |series: &Series| series.finite().next_back().map(|(_, value)| value);
    let values: Vec<(&Series, f64)> =
        panel.series.iter().filter_map(|series| Some((series, last_value(series)?))).collect();
    let parts: Vec<String> = match values.as_slice() {
        [] => vec!["no data".to_owned()],
        all if panel.shows_names => all.iter().map(|(series, _)| series.name.clone()).collect(),
        all => all.iter().map(|(_, value)| format_value(*value, &panel.unit)).collect(),
    };
    let shown = parts.join(", ");
    let size = [26, 20, 15, 12].into_iter().find(|size| fit(&shown, room, *size) == shown).unwrap_or(11);
    let color = if values.is_empty() { FAINT } else { TEXT };
    area.draw(&Text::new(fit(&shown, room, size), (12, 32), bold(size, color)))?;
    if let ([(series, _)], false) = (values.as_slice(), panel.shows_names) {
        draw_sparkline(area, series, panel.range)?;
    }
    Ok(())
}

/// A small curve without axes.
fn draw_sparkline(area: &Area<'_>, series: &Series, (start, end): (f64, f64)) -> Result<(), DrawingError> {
    let max = series.max();
    let top = if max > 0.0 { max * 1.1 } else { 1.0 };
    let bottom = area.margin(62, 8, 12, 12);
    let mut chart = ChartBuilder::on(&bottom).build_cartesian_2d(start..end.max(start + 1.0), 0.0..top)?;
    let points = series.finite().map(|(time, value)| (time, value.max(0.0)));
    let line = ACCENT.stroke_width(2);
    chart.draw_series(AreaSeries::new(points, 0.0, lighten(ACCENT, 0.1)).border_style(line))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(kind: &str, title: &str, unit: &str, series: &[(&str, &[f64])]) -> PlottedPanel {
        let series_of = |(name, values): &(&str, &[f64])| {
            let points = values
                .iter()
                .enumerate()
                .map(|(index, value)| (f64::from(u32::try_from(index).unwrap_or(0)), *value));
            Series { name: (*name).to_owned(), points: points.collect() }
        };
        PlottedPanel {
            title: title.to_owned(),
            kind: kind.to_owned(),
            unit: unit.to_owned(),
            range: (0.0, 3.0),
            series: series.iter().map(series_of).collect(),
            ..PlottedPanel::default()
        }
    }

    fn texts(svg: &str) -> Vec<&str> {
        svg.split("<text").skip(1).filter_map(|text| Some(text.split(['>', '<']).nth(1)?.trim())).collect()
    }

    #[test]
    fn tiles_show_their_last_value_and_plots_their_legend() {
        let mut version = panel("stat", "Version", "short", &[("0.1.0 abc", &[1.0])]);
        version.shows_names = true;
        let mut stacked =
            panel("timeseries", "Stacked", "short", &[("one", &[1.0, 2.0]), ("two", &[3.0, 4.0])]);
        stacked.stacked = true;
        let all = [
            panel("stat", "Oldest", "s", &[("age", &[1.0, 0.25, f64::NAN])]),
            version,
            panel(
                "timeseries",
                "Memory & more",
                "bytes",
                &[("a<b", &[1_048_576.0, 3_145_728.0, f64::NAN, 1_048_576.0])],
            ),
            panel(
                "heatmap",
                "Durations",
                "s",
                &[("0.1", &[0.0, 1.0]), ("1", &[0.0, 3.0]), ("+Inf", &[0.0, 3.0])],
            ),
            stacked,
        ];
        let svg = draw("Operator", &all);
        let texts = texts(&svg);
        for text in [
            "Operator",
            "250 ms",
            "0.1.0 abc",
            "Memory &amp; more",
            "a&lt;b",
            "0",
            "2 MiB",
            "3 MiB",
            "100 ms",
            "1 s",
            "one",
            "two",
        ] {
            assert!(texts.contains(&text), "{text} is not among {texts:?}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn panels_without_data_show_that() {
        assert!(texts(&draw("t", &[])).contains(&"no data"));
        for kind in ["stat", "timeseries", "heatmap"] {
            for series in [&[][..], &[("a", &[][..])], &[("a", &[f64::NAN][..])]] {
                let svg = draw("t", &[panel(kind, "p", "s", series)]);
                assert!(texts(&svg).contains(&"no data"), "{kind} {series:?}");
            }
        }
    }

    #[test]
    fn lines_are_about_equally_full() {
        for (count, expected) in [(1, vec![1]), (3, vec![3]), (4, vec![2, 2]), (8, vec![3, 3, 2])] {
            let panels = vec![panel("timeseries", "p", "s", &[("a", &[1.0, 2.0])]); count];
            let lengths: Vec<usize> = lines(&panels).iter().map(|line| line.panels.len()).collect();
            assert_eq!(lengths, expected);
        }
    }
}
