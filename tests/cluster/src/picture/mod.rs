//! Pictures (SVG) of what the backends answer: a trace as a waterfall, a dashboard's panels as plots. They
//! are drawn from answers alone.

mod graph;
mod panels;
mod scale;
mod svg;
mod waterfall;

use std::time::Duration;

use crate::{
    Prometheus, Window,
    dashboard::{Dashboard, Panel},
    signals::Span,
};

/// `$__rate_interval` is chosen as for a scrape of this interval: over 20 s a burst has a shape, not a spike.
const SCRAPE: Duration = Duration::from_secs(5);

/// A panel with its answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlottedPanel {
    /// What stands above it.
    pub title: String,
    /// `timeseries`, `stat`, `heatmap`; others are drawn as `timeseries`.
    pub kind: String,
    /// Grafana's name of it.
    pub unit: String,
    /// Whether the curves are parts of a whole.
    pub stacked: bool,
    /// A `stat` shows the names of its curves, not their values.
    pub names: bool,
    /// Unix seconds at the left and the right end.
    pub window: (f64, f64),
    /// What to draw; of a `heatmap` the buckets, named by their upper bounds.
    pub curves: Vec<Curve>,
}

/// A series with its name in the legend.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// For the legend.
    pub name: String,
    /// (Unix seconds, value), by time. What is no number is a gap.
    pub points: Vec<(f64, f64)>,
}

/// A waterfall: a row for each span under its parent, bars on a common axis of time, errors in red. A run of
/// siblings that took no time shares a row.
#[must_use]
pub fn trace(title: &str, spans: &[Span]) -> String {
    waterfall::draw(title, spans)
}

/// The panels in a grid, in their order: tiles for numbers, plots for the others.
#[must_use]
pub fn panels(title: &str, panels: &[PlottedPanel]) -> String {
    panels::draw(title, panels)
}

/// Asks every query of a dashboard, and draws the answers.
///
/// # Errors
/// What Prometheus says of a query, with the panel's title.
pub async fn dashboard(
    prometheus: &Prometheus,
    dashboard: &Dashboard,
    window: Window,
) -> Result<String, String> {
    let mut chosen = dashboard.everything(prometheus).await?;
    chosen.push((
        "__range".to_owned(),
        format!("{}s", window.end.duration_since(window.start).as_secs().max(1)),
    ));
    let mut plotted = Vec::new();
    for panel in dashboard.panels.iter().filter(|panel| !panel.queries.is_empty()) {
        let answered = plot(prometheus, panel, window, &chosen).await;
        plotted.push(answered.map_err(|error| format!("{}: {error}", panel.title))?);
    }
    Ok(panels(&dashboard.title, &plotted))
}

async fn plot(
    prometheus: &Prometheus,
    panel: &Panel,
    window: Window,
    chosen: &[(String, String)],
) -> Result<PlottedPanel, String> {
    let mut curves = Vec::new();
    for query in &panel.queries {
        let lines =
            prometheus.query_range(&query.resolve(&window.rate_interval(SCRAPE), chosen), window).await?;
        curves.extend(
            lines.into_iter().map(|line| Curve { name: query.legend_of(&line.labels), points: line.points }),
        );
    }
    Ok(PlottedPanel {
        title: panel.title.clone(),
        kind: panel.kind.clone(),
        unit: panel.unit.clone(),
        stacked: panel.stacked,
        names: panel.queries.iter().any(|query| query.legend.contains("{{")),
        window: (scale::seconds(window.start), scale::seconds(window.end)),
        curves,
    })
}
