//! The panels of the dashboards as text: the highest values of each panel's queries, read from Prometheus. It
//! only reads.

use std::time::Duration;

use elpio_cluster::{
    Prometheus,
    dashboard::{self, Dashboard, Panel, VariableValues},
    eventually,
    exposition::Series,
};
use elpio_demo::picture::format_value;

use crate::{
    terminal::{Terminal, Tone},
    text::{truncate, truncate_start},
};

const READY_QUERY: &str = "sum(elpio_resources{ready=\"true\"})";
const TIMEOUT: Duration = Duration::from_mins(1);
/// The range of rates, which includes everything that has happened.
const RATE_INTERVAL: &str = "2m";
/// The series of a panel that are shown.
const MAX_SERIES: usize = 4;
/// Columns of a panel's title, and of a series' name.
const TITLE: usize = 34;
const NAME: usize = 36;

/// Prints one line per panel of all dashboards, as soon as a scrape has seen this many ready objects.
pub async fn show(terminal: &Terminal, prometheus: &Prometheus, ready: usize) -> Result<(), String> {
    let ready = f64::from(u32::try_from(ready).unwrap_or(u32::MAX));
    let scraped = eventually("Prometheus has scraped the final state", TIMEOUT, async || {
        let answer = prometheus.query(READY_QUERY).await?;
        let scraped = answer.first().map_or(0.0, |series| series.value);
        if (scraped - ready).abs() < 0.5 { Ok(()) } else { Err(format!("{READY_QUERY}: {answer:?}")) }
    });
    scraped.await;
    for dashboard in dashboard::all()? {
        show_dashboard(terminal, prometheus, &dashboard).await?;
    }
    Ok(())
}

async fn show_dashboard(
    terminal: &Terminal,
    prometheus: &Prometheus,
    dashboard: &Dashboard,
) -> Result<(), String> {
    terminal.heading(&format!(
        "dashboards/{}: {}, as Prometheus answers (rates over {RATE_INTERVAL})",
        dashboard.file, dashboard.title
    ));
    let mut variables = dashboard.select_all(prometheus).await?;
    variables.push(("__range".to_owned(), RATE_INTERVAL.to_owned()));
    for panel in dashboard.panels.iter().filter(|panel| !panel.queries.is_empty()) {
        let mut values = query(prometheus, panel, &variables).await?;
        values.sort_by(|(_, a), (_, b)| b.value.total_cmp(&a.value));
        let title = truncate(&panel.title, TITLE);
        let summary = terminal.paint(Tone::Dim, summarize(panel, &values));
        terminal.short_line(&format!("{title:<TITLE$} {summary}"));
    }
    Ok(())
}

/// The finite values of a panel's queries, with the names of their series.
async fn query(
    prometheus: &Prometheus,
    panel: &Panel,
    variables: &VariableValues,
) -> Result<Vec<(String, Series)>, String> {
    let mut values = Vec::new();
    for query in &panel.queries {
        let found = prometheus
            .query(&query.resolve(RATE_INTERVAL, variables))
            .await
            .map_err(|error| format!("{}: {error}", panel.title))?;
        // A constant name would only repeat the title.
        let is_named = query.legend.contains("{{") || panel.queries.len() > 1;
        let name = |series: &Series| if is_named { query.legend_for(&series.labels) } else { String::new() };
        let finite = found.into_iter().filter(|series| series.value.is_finite());
        values.extend(finite.map(|series| (name(&series), series)));
    }
    Ok(values)
}

fn summarize(panel: &Panel, values: &[(String, Series)]) -> String {
    if panel.kind == "heatmap" {
        return summarize_buckets(panel, values).unwrap_or_else(|| "no data".to_owned());
    }
    let format = |(name, series): &(String, Series)| {
        let value = format_value(series.value, &panel.unit);
        format!("{} {value}", truncate_start(name, NAME)).trim().to_owned()
    };
    let nonzero: Vec<&(String, Series)> = values.iter().filter(|(_, series)| series.value != 0.0).collect();
    let mut parts: Vec<String> = nonzero.iter().take(MAX_SERIES).map(|value| format(value)).collect();
    if nonzero.len() > MAX_SERIES {
        parts.push(format!("and {} more", nonzero.len() - MAX_SERIES));
    }
    match values.first() {
        None => "no data".to_owned(),
        Some((_, zero)) if parts.is_empty() => format_value(zero.value, &panel.unit),
        Some(_) => parts.join(" · "),
    }
}

/// The bounds below which half and all of a histogram's values are.
fn summarize_buckets(panel: &Panel, values: &[(String, Series)]) -> Option<String> {
    let mut buckets: Vec<(f64, f64)> = values
        .iter()
        .filter_map(|(_, series)| Some((series.label("le").parse().ok()?, series.value)))
        .collect();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (_, total) = *buckets.last().filter(|(_, total)| *total > 0.0)?;
    let bound = |part: f64| {
        let bucket = buckets.iter().find(|(_, count)| *count >= total * part)?;
        Some(if bucket.0.is_finite() { format_value(bucket.0, &panel.unit) } else { "∞".to_owned() })
    };
    Some(format!("half within {}, all within {}", bound(0.5)?, bound(0.999)?))
}
