//! The end of the demo: metrics, if there is no Prometheus, and the addresses of what runs. It only reads.

use elpio_cluster::{
    Operator,
    exposition::{self, Series},
};

use crate::{
    environment::Environment,
    terminal::{Terminal, Tone},
};

/// The three contract metrics, and the duration of rollouts.
const SHOWN_METRICS: [&str; 5] = [
    "elpio_reconcile_total",
    "elpio_reconcile_duration_seconds_count",
    "elpio_reconcile_duration_seconds_sum",
    "elpio_services_ready",
    "elpio_rollout_duration_seconds_sum",
];

/// Prints a few metrics as they are scraped.
pub async fn show_metrics(terminal: &Terminal, operator: &Operator) {
    terminal
        .heading(&format!("curl http://127.0.0.1:{}/metrics  (a few of its lines)", operator.metrics_port()));
    let metrics = operator.metrics("text/plain").await;
    for name in SHOWN_METRICS {
        for series in exposition::series(&metrics) {
            if series.name == name && series.value > 0.0 {
                terminal.line(&series_line(&series));
            }
        }
    }
}

fn series_line(series: &Series) -> String {
    let labels: Vec<String> = series.labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    format!("{}{labels} {}", series.name, series.value)
}

/// Prints the addresses of what keeps running, or how to keep it running.
pub fn show_addresses(terminal: &Terminal, environment: &Environment, trace: &str, keep: bool) {
    terminal.print("");
    let seconds = environment.started.elapsed().as_secs_f64();
    terminal.line(&terminal.paint(Tone::Dim, format!("{seconds:.0} s since the first process was started.")));
    if !keep {
        terminal.heading("cargo demo --keep leaves everything running, with a kubeconfig.");
        return;
    }
    terminal.heading("Everything keeps running until Ctrl-C");
    for (what, command) in commands(environment, trace) {
        terminal.line(&format!("{} {command}", terminal.paint(Tone::Dim, format!("{what:<10}"))));
    }
    terminal.print("");
    terminal.paragraph("The table below shows the namespace default.", 0);
}

fn commands(environment: &Environment, trace: &str) -> Vec<(&'static str, String)> {
    let addresses = &environment.addresses;
    let mut commands = vec![
        ("kubectl", format!("export KUBECONFIG={}", addresses.kubeconfig.display())),
        ("", "kubectl describe elpioservices; kubectl get events.events.k8s.io --watch".to_owned()),
        (
            "metrics",
            format!(
                "curl -H 'Accept: application/openmetrics-text' http://127.0.0.1:{}/metrics",
                addresses.metrics
            ),
        ),
        ("health", format!("curl http://127.0.0.1:{}/readyz", addresses.health)),
        ("OTLP", format!("export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{}", addresses.otlp)),
        ("log", format!("tail -f {}", environment.operator.log_path().display())),
        (
            "a failure",
            r#"kubectl patch esvc greeter --type merge -p '{"spec":{"image":{"repository":"ghcr.io/kwok-crash/it"}}}'"#.to_owned(),
        ),
    ];
    if addresses.jaeger != 0 {
        let prometheus = addresses.prometheus;
        commands.extend([
            ("Jaeger", format!("curl http://127.0.0.1:{}/api/traces/{trace}", addresses.jaeger)),
            (
                "Prometheus",
                format!("curl 'http://127.0.0.1:{prometheus}/api/v1/query?query=elpio_services_ready'"),
            ),
            ("", format!("curl http://127.0.0.1:{prometheus}/api/v1/alerts")),
            ("", "(Jaeger and Prometheus have no web pages here, only their APIs)".to_owned()),
        ]);
    }
    commands
}
