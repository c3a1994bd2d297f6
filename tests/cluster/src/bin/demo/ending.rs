//! What there is to see in the end: the services, one rollout's trace, the metrics, the addresses. Only reads.

use crate::story::{ready, text};
use crate::terminal::{Terminal, Tone, line};
use elpio_cluster::page::{self, Series};
use elpio_cluster::{Cluster, Operator, OtlpReceiver, eventually, tree};
use kube::core::DynamicObject;
use std::collections::BTreeMap;
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(15);

/// The contract's three metrics, and how long a rollout took.
const SHOWN: [&str; 5] = [
    "elpio_reconcile_total",
    "elpio_reconcile_duration_seconds_count",
    "elpio_reconcile_duration_seconds_sum",
    "elpio_services_ready",
    "elpio_rollout_duration_seconds_sum",
];

/// As `kubectl get elpioservices` prints them.
pub fn table(terminal: &Terminal, services: &BTreeMap<String, DynamicObject>) {
    terminal.heading("kubectl get elpioservices");
    line(&terminal.paint(Tone::Dim, format!("{:<14} {:<6} {:<12} {:<8} {:<9} URL", "NAME", "READY", "REASON", "ENGINE", "OBJECTS")));
    for (name, service) in services {
        let (ready, status) = (ready(service), &service.data["status"]);
        let children = status["children"].as_array().map_or(0, Vec::len);
        line(&format!(
            "{name:<14} {:<6} {:<12} {:<8} {children:<9} {}",
            text(&ready, "status"),
            text(&ready, "reason"),
            text(status, "engine"),
            text(status, "url"),
        ));
    }
}

/// The trace of the rollout with the most objects, as it was received by OTLP.
pub async fn trace(terminal: &Terminal, receiver: &OtlpReceiver, services: &BTreeMap<String, DynamicObject>) -> Result<(), String> {
    let children = |service: &DynamicObject| service.data["status"]["children"].as_array().map_or(0, Vec::len);
    let (name, service) = services.iter().max_by_key(|(_, service)| children(service)).ok_or("there are no samples")?;
    let trace_id = text(&service.data["status"]["rollout"], "traceId");
    terminal.heading(&format!("The rollout of {name}: trace {trace_id}"));
    // The root is sent when the rollout ends, and the export takes a moment.
    let what = "the rollout's root span is received";
    let spans = eventually(what, BOUND, async || {
        let spans = receiver.trace(&trace_id);
        if spans.iter().any(|span| span.parent_id.is_empty()) {
            Ok(spans)
        } else {
            Err(format!("{} spans of trace {trace_id:?}", spans.len()))
        }
    })
    .await;
    for text in tree::brief(&spans, terminal.color()).lines() {
        line(text);
    }
    Ok(())
}

/// Those lines of the page.
pub async fn metrics(terminal: &Terminal, operator: &Operator) {
    terminal.heading(&format!("curl http://127.0.0.1:{}/metrics  (a few of its lines)", operator.metrics_port()));
    let page = operator.metrics("text/plain").await;
    for name in SHOWN {
        for series in page::series(&page).iter().filter(|series| series.name == name && series.value > 0.0) {
            line(&series_line(series));
        }
    }
}

fn series_line(series: &Series) -> String {
    let labels: Vec<String> = series.labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    format!("{}{labels} {}", series.name, series.value)
}

/// Where to look while it runs, or how to keep it running.
pub fn addresses(terminal: &Terminal, cluster: &Cluster, operator: &Operator, service: &str, keep: bool) {
    if !keep {
        terminal.heading("cargo demo --keep leaves all of this running, with a kubeconfig to use.");
        return;
    }
    terminal.heading("It stays until Ctrl-C");
    let (health, metrics) = (operator.health_port(), operator.metrics_port());
    for (what, how) in [
        ("kubectl", format!("export KUBECONFIG={}", cluster.kubeconfig().display())),
        ("", "kubectl describe elpioservices; kubectl get events.events.k8s.io --watch".to_owned()),
        ("metrics", format!("curl http://127.0.0.1:{metrics}/metrics")),
        ("health", format!("curl http://127.0.0.1:{health}/readyz")),
        ("log", format!("tail -f {}", operator.log_path().display())),
        (
            "a failure",
            format!(
                r#"kubectl patch elpioservice {service} --type merge -p '{{"spec":{{"image":{{"repository":"registry.example.com/broken"}}}}}}'"#
            ),
        ),
    ] {
        line(&format!("{what:<10} {how}"));
    }
    println!();
}
