//! What there is to see in the end: the metrics, an exemplar, the addresses. Only reads.

use elpio_cluster::{
    Operator,
    page::{self, Series},
};

use crate::{
    backends::Backends,
    ground::Ground,
    terminal::{Terminal, Tone},
};

/// The contract's three metrics, and how long a rollout took.
const SHOWN: [&str; 5] = [
    "elpio_reconcile_total",
    "elpio_reconcile_duration_seconds_count",
    "elpio_reconcile_duration_seconds_sum",
    "elpio_services_ready",
    "elpio_rollout_duration_seconds_sum",
];

/// A few lines of the page.
pub async fn metrics(terminal: &Terminal, operator: &Operator) {
    terminal
        .heading(&format!("curl http://127.0.0.1:{}/metrics  (a few of its lines)", operator.metrics_port()));
    let page = operator.metrics("text/plain").await;
    for name in SHOWN {
        for series in page::series(&page).iter().filter(|series| series.name == name && series.value > 0.0) {
            terminal.line(&series_line(series));
        }
    }
}

fn series_line(series: &Series) -> String {
    let labels: Vec<String> = series.labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    format!("{}{labels} {}", series.name, series.value)
}

/// The way from a histogram's bucket to a trace.
pub async fn exemplar(terminal: &Terminal, backends: &Backends) {
    let Some(exemplar) = backends.longest("elpio_rollout_duration_seconds").await else { return };
    let spans = backends.trace(&exemplar.trace_id).await;
    let name = spans
        .iter()
        .find(|span| span.parent_id.is_empty())
        .map_or("not in Jaeger", |span| span.name.as_str());
    terminal.heading("From a metric to a trace: the exemplar of the longest rollout (elpio_rollout_duration_seconds_bucket)");
    terminal.line(&format!(
        "{:.3} s → trace {}: {name}, {} spans",
        exemplar.value,
        exemplar.trace_id,
        spans.len()
    ));
}

/// Where to look while it runs, or how to keep it running.
pub fn addresses(terminal: &Terminal, ground: &Ground, trace: &str, keep: bool) {
    terminal.put("");
    terminal.line(&terminal.paint(
        Tone::Dim,
        format!("From the first process to here: {:.0} s.", ground.begin.elapsed().as_secs_f64()),
    ));
    if !keep {
        terminal.heading("cargo demo --keep leaves all of this running, with a kubeconfig to use.");
        return;
    }
    terminal.heading("It stays until Ctrl-C");
    let outside = &ground.outside;
    let mut all = vec![
        ("kubectl", format!("export KUBECONFIG={}", outside.kubeconfig.display())),
        ("", "kubectl describe elpioservices; kubectl get events.events.k8s.io --watch".to_owned()),
        ("metrics", format!("curl http://127.0.0.1:{}/metrics", outside.metrics)),
        ("health", format!("curl http://127.0.0.1:{}/readyz", outside.health)),
        ("OTLP", format!("export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{}", outside.otlp)),
        ("log", format!("tail -f {}", ground.operator.log_path().display())),
        (
            "a failure",
            r#"kubectl patch esvc greeter --type merge -p '{"spec":{"image":{"repository":"ghcr.io/kwok-crash/it"}}}'"#.to_owned(),
        ),
    ];
    if outside.jaeger != 0 {
        all.push(("Jaeger", format!("curl http://127.0.0.1:{}/api/traces/{trace}", outside.jaeger)));
        all.push((
            "Prometheus",
            format!("curl 'http://127.0.0.1:{}/api/v1/query?query=elpio_services_ready'", outside.prometheus),
        ));
        all.push(("", format!("curl http://127.0.0.1:{}/api/v1/alerts", outside.prometheus)));
        all.push(("", "(their APIs: they are built without their web pages)".to_owned()));
    }
    for (what, how) in all {
        terminal.line(&format!("{} {how}", terminal.paint(Tone::Dim, format!("{what:<10}"))));
    }
    terminal.put("");
}
