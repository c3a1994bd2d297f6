//! The alerts that Prometheus has raised about the failing objects. It only reads.

use std::time::Duration;

use elpio_cluster::{Prometheus, eventually};

use crate::terminal::{Terminal, Tone};

/// The alert for the failing build.
const EXPECTED: &str = "ElpioBuildsFailing";
/// Scrapes and evaluations are a second apart.
const TIMEOUT: Duration = Duration::from_mins(2);

/// Waits until the expected alert has fired, and prints all alerts.
pub async fn show(terminal: &Terminal, prometheus: &Prometheus) {
    terminal.heading(
        "The alert for the failing build: dashboards/alerts/rules.yaml with short windows, in Prometheus",
    );
    let alerts = eventually(&format!("{EXPECTED} fires"), TIMEOUT, async || {
        let (fired, alerts) = (prometheus.fired_alerts().await?, prometheus.alerts().await?);
        if fired.iter().any(|name| name == EXPECTED) {
            Ok(alerts)
        } else {
            Err(format!("{fired:?} {alerts:?}"))
        }
    })
    .await;
    if !alerts.iter().any(|alert| alert.name == EXPECTED) {
        // Its range is one minute here.
        let state = terminal.paint(Tone::Good, "resolved");
        terminal.line(&format!("{state} {EXPECTED}  it fired; no build has failed in the last minute"));
    }
    for alert in alerts {
        let tone = if alert.is_firing() { Tone::Bad } else { Tone::Waiting };
        let annotation = |key: &str| alert.annotations.get(key).cloned().unwrap_or_default();
        let state = terminal.paint(tone, format!("{:<8}", alert.state));
        terminal.line(&format!("{state} {}", alert.name));
        terminal.paragraph(&format!("{}. {}", annotation("summary"), annotation("description")), 9);
    }
}
