//! The grid of a dashboard: headings, tiles for numbers, places for plots.

use super::{
    Curve, PlottedPanel, graph,
    scale::show,
    svg::{self, BLUE, FAINT, INK, Svg, plain},
};

const WIDTH: f64 = 1200.0;
const MARGIN: f64 = 16.0;
const GAP: f64 = 12.0;
const TILES: usize = 6;
const TILE: f64 = 88.0;
const PLOTS: usize = 3;
const PLOT: f64 = 232.0;
const TOP: f64 = 52.0;

pub(super) fn draw(title: &str, panels: &[PlottedPanel]) -> String {
    let mut svg = Svg::default();
    svg.text((MARGIN, 33.0), plain(18.0, INK).bold(), title);
    let mut y = TOP;
    for run in panels.chunk_by(|a, b| is_tile(a) == is_tile(b)) {
        let (most, height) = if is_tile(&run[0]) { (TILES, TILE) } else { (PLOTS, PLOT) };
        let mut rest = run;
        // As many lines as needed, about equally full.
        for lines in (1..=run.len().div_ceil(most)).rev() {
            let (line, after) = rest.split_at(rest.len().div_ceil(lines));
            rest = after;
            #[allow(clippy::cast_precision_loss, reason = "a handful")]
            let width = (WIDTH - 2.0 * MARGIN + GAP) / line.len() as f64 - GAP;
            let mut x = MARGIN;
            for panel in line {
                svg.frame((x, y), (width, height));
                if is_tile(panel) {
                    tile(&mut svg, panel, (x, y), width);
                } else {
                    graph::draw(&mut svg, panel, (x, y), (width, height));
                }
                x += width + GAP;
            }
            y += height + GAP;
        }
    }
    if panels.is_empty() {
        svg.text((MARGIN, y + 16.0), plain(14.0, FAINT), "no data");
        y += 40.0;
    }
    svg.finish(title, WIDTH, y + MARGIN - GAP)
}

fn is_tile(panel: &PlottedPanel) -> bool {
    panel.kind == "stat"
}

fn tile(svg: &mut Svg, panel: &PlottedPanel, (x, y): (f64, f64), width: f64) {
    svg.text((x + 12.0, y + 22.0), plain(12.0, FAINT), &svg::fit(&panel.title, width - 24.0, 12.0));
    let last = |curve: &Curve| curve.points.iter().rev().map(|point| point.1).find(|value| value.is_finite());
    let values: Vec<(&Curve, f64)> =
        panel.curves.iter().filter_map(|curve| Some((curve, last(curve)?))).collect();
    let said = match values.as_slice() {
        [] => "no data".to_owned(),
        all if panel.names => all.iter().map(|(curve, _)| curve.name.as_str()).collect::<Vec<_>>().join(", "),
        all => all.iter().map(|(_, value)| show(*value, &panel.unit)).collect::<Vec<_>>().join(", "),
    };
    let size = [26.0, 20.0, 15.0, 12.0]
        .into_iter()
        .find(|size| svg::width(&said, *size) <= width - 24.0)
        .unwrap_or(11.0);
    let color = if values.is_empty() { FAINT } else { INK };
    svg.text((x + 12.0, y + 52.0), plain(size, color).bold(), &svg::fit(&said, width - 24.0, size));
    if let ([(curve, _)], false) = (values.as_slice(), panel.names) {
        spark(svg, curve, panel.window, (x + 12.0, y + 62.0), width - 24.0);
    }
}

/// A small curve without axes.
fn spark(svg: &mut Svg, curve: &Curve, (from, to): (f64, f64), (x, y): (f64, f64), width: f64) {
    const HEIGHT: f64 = 18.0;
    let points = || curve.points.iter().filter(|(_, value)| value.is_finite());
    let max = points().map(|point| point.1).fold(0.0, f64::max);
    let place = |(time, value): &(f64, f64)| {
        let part = if max > 0.0 { value / max } else { 0.0 };
        (x + (time - from) / (to - from).max(1e-9) * width, y + HEIGHT * (1.0 - part.max(0.0)))
    };
    let mut places: Vec<(f64, f64)> = points().map(place).collect();
    svg.curve(&places, BLUE);
    if let (Some(first), Some(last)) = (places.first().copied(), places.last().copied()) {
        places.extend([(last.0, y + HEIGHT), (first.0, y + HEIGHT)]);
        svg.area(&places, BLUE, 0.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(kind: &str, title: &str, unit: &str, curves: &[(&str, &[f64])]) -> PlottedPanel {
        let curve = |(name, values): &(&str, &[f64])| {
            let points = values
                .iter()
                .enumerate()
                .map(|(at, value)| (f64::from(u32::try_from(at).unwrap_or(0)), *value));
            Curve { name: (*name).to_owned(), points: points.collect() }
        };
        PlottedPanel {
            title: title.to_owned(),
            kind: kind.to_owned(),
            unit: unit.to_owned(),
            window: (0.0, 3.0),
            curves: curves.iter().map(curve).collect(),
            ..PlottedPanel::default()
        }
    }

    fn texts(picture: &str) -> Vec<&str> {
        picture.split("<text").skip(1).filter_map(|text| text.split(['>', '<']).nth(1)).collect()
    }

    #[test]
    fn tiles_say_their_last_number_and_plots_their_legend() {
        let mut version = panel("stat", "Version", "short", &[("0.1.0 abc", &[1.0])]);
        version.names = true;
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
        ];
        let picture = draw("Operator", &all);
        let texts = texts(&picture);
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
        ] {
            assert!(texts.contains(&text), "{text} is not among {texts:?}");
        }
        assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
    }

    #[test]
    fn what_has_no_data_says_so() {
        assert!(texts(&draw("t", &[])).contains(&"no data"));
        for kind in ["stat", "timeseries", "heatmap"] {
            for curves in [&[][..], &[("a", &[][..])], &[("a", &[f64::NAN][..])]] {
                let picture = draw("t", &[panel(kind, "p", "s", curves)]);
                assert!(texts(&picture).contains(&"no data"), "{kind} {curves:?}");
            }
        }
    }

    #[test]
    fn a_grid_is_as_wide_as_its_picture() {
        for count in 1..9 {
            let picture = draw("t", &vec![panel("timeseries", "p", "s", &[("a", &[1.0, 2.0])]); count]);
            let frames = picture.split("<rect x=\"").skip(1).filter(|rect| rect.contains("stroke"));
            let number = |rect: &str, key: &str| {
                rect.split(key)
                    .nth(1)
                    .and_then(|rest| rest.split('"').next()?.parse::<f64>().ok())
                    .unwrap_or(0.0)
            };
            let ends = frames.map(|rect| {
                rect.split('"').next().and_then(|x| x.parse::<f64>().ok()).unwrap_or(0.0)
                    + number(rect, "width=\"")
            });
            let end = ends.fold(0.0, f64::max);
            assert!((end - (WIDTH - MARGIN)).abs() < 1.0, "{count}: {end}");
        }
    }
}
