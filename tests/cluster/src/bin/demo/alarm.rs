//! The alerts that Prometheus raises of what has failed here. Only reads.

use std::time::Duration;

use elpio_cluster::{Prometheus, eventually};

use crate::{
    screen::wrapped,
    terminal::{Terminal, Tone},
};

/// The one that the failing build raises.
const EXPECTED: &str = "ElpioBuildsFailing";
/// Scrapes and evaluations are a second apart.
const BOUND: Duration = Duration::from_mins(2);

/// Waits until it has fired, and shows everything that fires.
pub async fn show(terminal: &Terminal, prometheus: &Prometheus) {
    terminal.heading("The alert that the failing build raises: dashboards/alerts/rules.yaml with short windows, as Prometheus has it");
    let alerts = eventually(&format!("{EXPECTED} fires"), BOUND, async || {
        let (fired, alerts) = (prometheus.fired().await?, prometheus.alerts().await?);
        if fired.iter().any(|name| name == EXPECTED) {
            Ok(alerts)
        } else {
            Err(format!("{fired:?} {alerts:?}"))
        }
    })
    .await;
    if !alerts.iter().any(|alert| alert.name == EXPECTED) {
        // Its rule looks back over a minute here.
        terminal.line(&format!(
            "{} {EXPECTED}  fired, and is over: nothing has failed in the last minute",
            terminal.paint(Tone::Good, "resolved")
        ));
    }
    for alert in alerts {
        let tone = if alert.firing() { Tone::Bad } else { Tone::Waiting };
        let text = |key: &str| alert.annotations.get(key).cloned().unwrap_or_default();
        terminal.line(&format!(
            "{} {}  {}",
            terminal.paint(tone, format!("{:<8}", alert.state)),
            alert.name,
            text("summary")
        ));
        for line in wrapped(&text("description"), terminal.width().min(120).saturating_sub(13)) {
            terminal.line(&terminal.paint(Tone::Dim, format!("         {line}")));
        }
    }
}
