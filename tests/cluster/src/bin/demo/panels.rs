//! What the dashboards show: every panel's numbers, read back from Prometheus. Only reads.

use std::time::Duration;

use elpio_cluster::{
    Prometheus,
    dashboard::{self, Panel},
    eventually,
    page::Series,
};

use crate::{
    screen::fit,
    terminal::{Terminal, Tone},
};

const READY: &str = "sum(elpio_resources{ready=\"true\"})";
const BOUND: Duration = Duration::from_mins(1);
/// Rates are of all that has happened here.
const RATE: &str = "2m";
/// Series of a panel that have a place on its line.
const SHOWN: usize = 4;
const TITLE: usize = 34;
const LEGEND: usize = 36;
const NOTHING: &str = "nothing";

/// Every panel of every dashboard: the largest values of its queries. Waits until a scrape has seen that so
/// many objects are ready.
pub async fn show(terminal: &Terminal, prometheus: &Prometheus, ready: usize) -> Result<(), String> {
    let seen = eventually("Prometheus has scraped the end of the story", BOUND, async || {
        let answer = prometheus.query(READY).await?;
        let seen = answer.first().map_or(0.0, |series| series.value);
        if (seen - f64::from(u32::try_from(ready).unwrap_or(u32::MAX))).abs() < 0.5 {
            Ok(())
        } else {
            Err(format!("{READY}: {answer:?}"))
        }
    });
    seen.await;
    for dashboard in dashboard::all()? {
        terminal.heading(&format!(
            "dashboards/{}: {}, as Prometheus answers (rates over {RATE})",
            dashboard.file, dashboard.title
        ));
        let mut chosen = dashboard.everything(prometheus).await?;
        chosen.push(("__range".to_owned(), RATE.to_owned()));
        for panel in dashboard.panels.iter().filter(|panel| !panel.queries.is_empty()) {
            let mut values = Vec::new();
            for query in &panel.queries {
                let series = prometheus
                    .query(&query.resolve(RATE, &chosen))
                    .await
                    .map_err(|why| format!("{}: {why}", panel.title))?;
                // A name that is always the same says what the title says.
                let named = query.legend.contains("{{") || panel.queries.len() > 1;
                let legend =
                    |found: &Series| if named { query.legend_of(&found.labels) } else { String::new() };
                values.extend(
                    series
                        .into_iter()
                        .filter(|found| found.value.is_finite())
                        .map(|found| (legend(&found), found)),
                );
            }
            values.sort_by(|(_, a), (_, b)| b.value.total_cmp(&a.value));
            let line = format!(
                "{:<TITLE$} {}",
                fit(&panel.title, TITLE),
                terminal.paint(Tone::Dim, numbers(panel, &values))
            );
            terminal.short_line(&line);
        }
    }
    Ok(())
}

fn numbers(panel: &Panel, values: &[(String, Series)]) -> String {
    if panel.kind == "heatmap" {
        return spread(panel, values).unwrap_or_else(|| NOTHING.to_owned());
    }
    let of = |(legend, series): &(String, Series)| {
        format!("{} {}", end(legend), quantity(series.value, &panel.unit)).trim().to_owned()
    };
    let telling: Vec<&(String, Series)> = values.iter().filter(|(_, series)| series.value != 0.0).collect();
    let mut all: Vec<String> = telling.iter().take(SHOWN).map(|value| of(value)).collect();
    if telling.len() > SHOWN {
        all.push(format!("and {} more", telling.len() - SHOWN));
    }
    match values.first() {
        None => NOTHING.to_owned(),
        Some((_, zero)) if all.is_empty() => quantity(zero.value, &panel.unit),
        Some(_) => all.join(" · "),
    }
}

/// A path says most at its end.
fn end(legend: &str) -> String {
    let length = legend.chars().count();
    if length <= LEGEND {
        legend.to_owned()
    } else {
        format!("…{}", legend.chars().skip(length - LEGEND + 1).collect::<String>())
    }
}

/// Of a heatmap's buckets, each of which holds those below it too: where the middle is, and the end.
fn spread(panel: &Panel, values: &[(String, Series)]) -> Option<String> {
    let mut buckets: Vec<(f64, f64)> = values
        .iter()
        .filter_map(|(_, series)| Some((series.label("le").parse().ok()?, series.value)))
        .collect();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (_, all) = *buckets.last().filter(|(_, all)| *all > 0.0)?;
    let within = |part: f64| {
        buckets.iter().find(|(_, count)| *count >= all * part).map(|(le, _)| quantity(*le, &panel.unit))
    };
    Some(format!("half within {}, all within {}", within(0.5)?, within(0.999)?))
}

/// A value with its unit, as Grafana names it.
fn quantity(value: f64, unit: &str) -> String {
    let number = |value: f64| {
        let digits = if value.fract().abs() < 1e-9 || value.abs() >= 100.0 {
            0
        } else if value.abs() >= 1.0 {
            1
        } else {
            3
        };
        format!("{value:.digits$}")
    };
    match unit {
        "s" if value.abs() < 1.0 => format!("{} ms", number(value * 1e3)),
        "s" => format!("{} s", number(value)),
        "bytes" | "decbytes" => format!("{} MiB", number(value / 1024.0 / 1024.0)),
        "percentunit" => format!("{} %", number(value * 100.0)),
        "percent" => format!("{} %", number(value)),
        "reqps" | "ops" | "cps" => format!("{}/s", number(value)),
        "cpm" | "opm" | "reqpm" => format!("{}/min", number(value)),
        _ => number(value),
    }
}
