//! The alerts that Prometheus has raised about the failing objects. It only reads.

use std::time::Duration;

use elpio_cluster::{Prometheus, eventually};

use crate::terminal::{Terminal, Tone};

/// Scrapes and evaluations are a second apart.
const TIMEOUT: Duration = Duration::from_mins(2);

/// Waits until every rule is evaluated after a build has failed, and prints what fires: one build that fails is its
/// author's to mend.
pub async fn show(terminal: &Terminal, prometheus: &Prometheus) {
    terminal.heading("Alerts: dashboards/alerts/rules.yaml with short windows, in Prometheus");
    let (count, alerts) =
        eventually("the failed build is counted and the rules are evaluated", TIMEOUT, async || {
            let failed = prometheus.query("sum(elpio_builds_total{result=\"error\"}) > 0").await?;
            let rules = prometheus.rules().await?;
            if failed.is_empty() || rules.iter().any(|rule| rule.health != "ok") {
                return Err(format!("{failed:?} {rules:?}"));
            }
            Ok((rules.len(), prometheus.alerts().await?))
        })
        .await;
    let firing: Vec<_> = alerts.into_iter().filter(elpio_cluster::alerts::Alert::is_firing).collect();
    if firing.is_empty() {
        let state = terminal.paint(Tone::Good, "none    ");
        terminal.line(&format!(
            "{state} of {count} rules fires: one build that fails is its author's to mend, and wakes nobody"
        ));
    }
    for alert in firing {
        let annotation = |key: &str| alert.annotations.get(key).cloned().unwrap_or_default();
        let state = terminal.paint(Tone::Bad, "firing  ");
        terminal.line(&format!("{state} {}", alert.name));
        terminal.paragraph(&format!("{}. {}", annotation("summary"), annotation("description")), 9);
    }
}
