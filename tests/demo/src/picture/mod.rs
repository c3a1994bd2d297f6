//! Pictures (SVG) of what the backends answer: a trace as a waterfall, a dashboard's panels as plots. They
//! contain nothing else. `plotters` draws them. (`charming` needs a JavaScript engine for SVG; `poloto` and
//! `charts-rs` have no waterfall, heatmap or time axis.)

mod format;
mod grid;
mod plot;
mod theme;
mod waterfall;

use std::time::Duration;

use elpio_cluster::{
    Prometheus, TimeRange,
    dashboard::{Dashboard, Panel},
    otlp::Span,
};

pub use format::format_value;

/// The scrape interval that determines `$__rate_interval`: rates over 20 s show bursts as curves, not as
/// spikes.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(5);

/// A panel with the answers to its queries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlottedPanel {
    /// Its title.
    pub title: String,
    /// `timeseries`, `stat`, `heatmap`; others are drawn as `timeseries`.
    pub kind: String,
    /// Grafana's unit.
    pub unit: String,
    /// Whether the series are stacked.
    pub stacked: bool,
    /// Whether a `stat` shows the names of its series, instead of their values.
    pub shows_names: bool,
    /// Unix seconds of the start and the end.
    pub range: (f64, f64),
    /// The series; in a `heatmap` the buckets, named by their upper bounds.
    pub series: Vec<Series>,
}

/// A named series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// (Unix seconds, value), by time. Values that are not finite are gaps.
    pub points: Vec<(f64, f64)>,
}

impl Series {
    fn finite(&self) -> impl DoubleEndedIterator<Item = (f64, f64)> {
        self.points.iter().copied().filter(|(_, value)| value.is_finite())
    }

    /// The highest value, or 0.
    fn max(&self) -> f64 {
        self.finite().map(|(_, value)| value).fold(0.0, f64::max)
    }
}

/// A waterfall with one row per span, indented below its parent, and a common time axis; errors are red.
/// Consecutive siblings of negligible duration share a row.
#[must_use]
pub fn trace(title: &str, spans: &[Span]) -> String {
    waterfall::draw(title, spans)
}

/// The panels in a grid, in their order: tiles for single numbers, plots for all others.
#[must_use]
pub fn panels(title: &str, panels: &[PlottedPanel]) -> String {
    grid::draw(title, panels)
}

/// Runs all queries of a dashboard, and draws the answers.
///
/// # Errors
/// If Prometheus rejects a query; the error names the panel.
pub async fn dashboard(
    prometheus: &Prometheus,
    dashboard: &Dashboard,
    range: TimeRange,
) -> Result<String, String> {
    let mut variables = dashboard.select_all(prometheus).await?;
    let seconds = range.end.duration_since(range.start).as_secs().max(1);
    variables.push(("__range".to_owned(), format!("{seconds}s")));
    let mut plotted = Vec::new();
    for panel in dashboard.panels.iter().filter(|panel| !panel.queries.is_empty()) {
        let answered = query(prometheus, panel, range, &variables).await;
        plotted.push(answered.map_err(|error| format!("{}: {error}", panel.title))?);
    }
    Ok(panels(&dashboard.title, &plotted))
}

async fn query(
    prometheus: &Prometheus,
    panel: &Panel,
    range: TimeRange,
    variables: &[(String, String)],
) -> Result<PlottedPanel, String> {
    let mut series = Vec::new();
    for query in &panel.queries {
        let expression = query.resolve(&range.rate_interval(SCRAPE_INTERVAL), variables);
        let found = prometheus.query_range(&expression, range).await?;
        series.extend(
            found
                .into_iter()
                .map(|found| Series { name: query.legend_for(&found.labels), points: found.points }),
        );
    }
    Ok(PlottedPanel {
        title: panel.title.clone(),
        kind: panel.kind.clone(),
        unit: panel.unit.clone(),
        stacked: panel.stacked,
        shows_names: panel.queries.iter().any(|query| query.legend.contains("{{")),
        range: (format::unix_seconds(range.start), format::unix_seconds(range.end)),
        series,
    })
}
