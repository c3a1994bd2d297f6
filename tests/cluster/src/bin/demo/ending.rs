//! What there is to see in the end: the services, one rollout's trace, the metrics, the addresses. Only reads.

use crate::backends::Backends;
use crate::story::{ready, text};
use crate::terminal::{Terminal, Tone, line};
use elpio_cluster::page::{self, Series};
use elpio_cluster::{Cluster, Operator, eventually, tree};
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

/// How many are ready, what the operator did, how long it and the rollouts take.
const QUERIES: [&str; 4] = [
    "elpio_services_ready",
    "sum by (kind, result) (elpio_reconcile_total)",
    // Of all so far: a rate has nothing to say of a histogram that began within the demo's few seconds.
    "histogram_quantile(0.99, sum by (le) (elpio_reconcile_duration_seconds_bucket))",
    "sum by (engine, outcome) (elpio_rollout_duration_seconds_count)",
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

/// The trace of the rollout with the most objects, read back from where it went; its id.
pub async fn trace(terminal: &Terminal, backends: &Backends, services: &BTreeMap<String, DynamicObject>) -> Result<String, String> {
    let children = |service: &DynamicObject| service.data["status"]["children"].as_array().map_or(0, Vec::len);
    let (name, service) = services.iter().max_by_key(|(_, service)| children(service)).ok_or("there are no samples")?;
    let trace_id = text(&service.data["status"]["rollout"], "traceId");
    terminal.heading(&format!("The rollout of {name}: trace {trace_id}, {}", backends.reader()));
    // The root is sent when the rollout ends, and the export takes a moment.
    let what = "the rollout's root span is received";
    let spans = eventually(what, BOUND, async || {
        let spans = backends.trace(&trace_id).await;
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
    Ok(trace_id)
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

/// What a dashboard asks first, answered by Prometheus, and the way from a histogram's bucket to a trace.
pub async fn queries(terminal: &Terminal, backends: &Backends) {
    if matches!(backends, Backends::None(_)) {
        return;
    }
    terminal.heading("Prometheus answers");
    for query in QUERIES {
        // The last scrape may be from before the end of the story.
        let what = format!("Prometheus answers {query}");
        let answer = eventually(&what, BOUND, async || match backends.query(query).await {
            Some(Ok(all)) if all.iter().any(|(_, value)| *value > 0.0) => Ok(all),
            other => Err(format!("{other:?}")),
        })
        .await;
        line(&terminal.paint(Tone::Dim, query));
        for (labels, value) in answer.iter().filter(|(_, value)| *value > 0.0) {
            let value = if value.fract() == 0.0 { format!("{value}") } else { format!("{value:.3}") };
            line(&format!("  {labels} {value}").replace("{} ", ""));
        }
    }
    if let Some(exemplar) = backends.longest("elpio_rollout_duration_seconds").await {
        line(&terminal.paint(Tone::Dim, "query_exemplars: elpio_rollout_duration_seconds_bucket (the longest)"));
        line(&format!("  {:.3} s, trace {}", exemplar.value, exemplar.trace_id));
    }
}

/// Where to look while it runs, or how to keep it running.
pub fn addresses(terminal: &Terminal, cluster: &Cluster, operator: &Operator, service: &str, backends: Vec<(&str, String)>, keep: bool) {
    if !keep {
        terminal.heading("cargo demo --keep leaves all of this running, with a kubeconfig to use.");
        return;
    }
    terminal.heading("It stays until Ctrl-C");
    let (health, metrics) = (operator.health_port(), operator.metrics_port());
    let own = [
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
    ];
    for (what, how) in own.into_iter().chain(backends) {
        line(&format!("{what:<10} {how}"));
    }
    println!();
}
