//! The distributions of a comparison as a picture: which share of the services had got so far after which time.

use std::time::Duration;

use plotters::{
    chart::{ChartBuilder, SeriesLabelPosition},
    prelude::{IntoDrawingArea as _, LineSeries, PathElement, RGBColor, SVGBackend, WHITE},
    style::{BLACK, Color as _},
};

use crate::{contender::Contender, report::Comparison};

type Drawn = Result<(), Box<dyn std::error::Error>>;

const WIDTH: u32 = 960;
const HEIGHT: u32 = 300;
const FIGURES: [&str; 4] =
    ["create → child", "create → status observed", "child ready → Ready", "edit → child"];

fn color(who: Contender) -> RGBColor {
    match who {
        Contender::Floor => RGBColor(0x7a, 0x87, 0x94),
        Contender::Peer => RGBColor(0xe0, 0x7b, 0x1f),
        Contender::Elpio => RGBColor(0x2f, 0x6f, 0xde),
    }
}

/// An SVG with one plot for each figure.
pub fn draw(comparison: &Comparison) -> Result<String, Box<dyn std::error::Error>> {
    let mut svg = String::new();
    {
        let rows = FIGURES.len().div_ceil(2);
        let height = HEIGHT * u32::try_from(rows)?;
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        root.fill(&WHITE)?;
        for (area, figure) in root.split_evenly((rows, 2)).iter().zip(FIGURES) {
            let lines: Vec<(Contender, Vec<(f64, f64)>)> = comparison
                .all
                .iter()
                .filter_map(|(who, measured)| {
                    let (_, all) = measured.times.iter().find(|(what, _)| *what == figure)?;
                    Some((*who, shares(all)))
                })
                .collect();
            draw_figure(area, figure, lines)?;
        }
        root.present()?;
    }
    Ok(svg)
}

fn draw_figure(
    area: &plotters::drawing::DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    figure: &str,
    lines: Vec<(Contender, Vec<(f64, f64)>)>,
) -> Drawn {
    let last = lines.iter().filter_map(|(_, points)| points.last()).map(|point| point.0);
    let end = last.fold(0.001, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(figure, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(32)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..end * 1.02, 0.0..1.0)?;
    chart
        .configure_mesh()
        .x_labels(6)
        .y_labels(5)
        .x_desc("seconds")
        .y_label_formatter(&|share: &f64| format!("{:.0} %", *share * 100.0))
        .light_line_style(WHITE)
        .draw()?;
    for (who, points) in lines {
        let color = color(who);
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)))?
            .label(who.name())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.2))
        .draw()?;
    Ok(())
}

/// (seconds, share of the services), at most 200 points.
fn shares(sorted: &[Duration]) -> Vec<(f64, f64)> {
    let step = sorted.len().div_ceil(200).max(1);
    let share = |index: usize| f64::from(u32::try_from(index + 1).unwrap_or(u32::MAX));
    let total = share(sorted.len().saturating_sub(1));
    let last = sorted.len().saturating_sub(1);
    let picked = (0..sorted.len()).filter(|index| index % step == 0 || *index == last);
    picked.map(|index| (sorted[index].as_secs_f64(), share(index) / total)).collect()
}
