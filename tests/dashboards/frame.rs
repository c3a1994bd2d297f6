//! What every dashboard has around its panels: links, variables, annotations, and the choice of an installation. It
//! holds no panel.

use elpio_support::objective::{Objective, Settings};
use serde_json::{Value, json};

use crate::board::merge;

/// `@` in a query.
pub fn selector() -> String {
    let cluster = Settings::read().cluster_label;
    format!("{cluster}=~\"$cluster\",namespace=~\"$namespace\",job=~\"$job\",instance=~\"$instance\"")
}

/// To an alert in Grafana's list of alerts, which has its runbook.
pub fn alert(name: &str) -> Value {
    json!({"title": name, "url": format!("/alerting/list?search={name}"), "targetBlank": true})
}

/// Where a process started, with its version, and where another replica began to lead.
pub fn annotations() -> Value {
    let cluster = Settings::read().cluster_label;
    let of = |name: &str, color: &str, expr: &str, title: &str| {
        json!({"name": name, "datasource": {"type": "prometheus", "uid": "${datasource}"}, "enable": true, "hide": false,
            "iconColor": color, "expr": expr.replace('@', &selector()), "step": "60s", "titleFormat": title, "textFormat": "{{instance}}", "tagKeys": "version"})
    };
    let started = format!(
        "elpio_build_info{{@}} and on ({cluster}, namespace, job, instance) process_uptime_seconds{{@}} < 120"
    );
    let led = "leader_election_master_status{@,name=\"elpio-operator\"} == 1 unless leader_election_master_status{@,name=\"elpio-operator\"} offset 2m == 1";
    json!({"list": [of("Starts", "blue", &started, "Started {{version}}"), of("Leader", "purple", led, "Leads")]})
}

/// To the other dashboards, and from a trace id to its trace.
pub fn links() -> Value {
    let explore = |name: &str, query: &str| {
        json!({"type": "link", "title": format!("Trace in {name}"), "icon": "external link", "targetBlank": true, "asDropdown": false, "tags": [],
            "tooltip": "The trace whose id stands in the field above", "url": explore(name, query)})
    };
    json!([{"type": "dashboards", "title": "Elpio", "tags": ["elpio"], "asDropdown": true, "includeVars": true, "keepTime": true, "targetBlank": false},
        explore("Jaeger", ""), explore("Tempo", "\"queryType\":\"traceql\",")])
}

/// Grafana's Explore with that trace. Variables stay as they are, the rest is escaped.
fn explore(name: &str, query: &str) -> String {
    let kind = name.to_lowercase();
    let pane = format!(
        "{{\"trace\":{{\"datasource\":\"${{{kind}}}\",\"queries\":[{{\"refId\":\"A\",\"datasource\":{{\"type\":\"{kind}\",\"uid\":\"${{{kind}}}\"}},\
         {query}\"query\":\"${{trace_id}}\"}}],\"range\":{{\"from\":\"${{__from}}\",\"to\":\"${{__to}}\"}}}}}}"
    );
    let mut url = "/explore?schemaVersion=1&panes=".to_owned();
    let mut rest = pane.as_str();
    while let Some(char) = rest.chars().next() {
        if let Some(end) = rest.find('}').filter(|_| rest.starts_with("${")) {
            url.push_str(&rest[..=end]);
            rest = &rest[end + 1..];
            continue;
        }
        let escaped =
            if char.is_ascii_alphanumeric() { char.to_string() } else { format!("%{:02X}", u32::from(char)) };
        url.push_str(&escaped);
        rest = &rest[char.len_utf8()..];
    }
    url
}

pub fn variables() -> Value {
    let source = |name: &str, label: &str, kind: &str| {
        json!({"name": name, "label": label, "type": "datasource", "query": kind, "current": {}, "options": [], "hide": 0, "includeAll": false,
            "multi": false, "refresh": 1, "regex": ""})
    };
    // A job that has shown no Elpio is another program's; a namespace or an instance may have no label at
    // all.
    let values = |name: &str, label: &str, selector: &str, all: Option<&str>| {
        let query = format!("label_values(elpio_build_info{selector}, {name})");
        let mut variable = json!({"name": name, "label": label, "type": "query", "datasource": {"type": "prometheus", "uid": "${datasource}"}, "definition": query,
            "query": {"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"}, "includeAll": true, "multi": true,
            "current": {"text": ["All"], "value": ["$__all"]}, "options": [], "hide": 0, "refresh": 2, "regex": "", "sort": 1});
        if let Some(all) = all {
            merge(&mut variable, json!({"allValue": all}));
        }
        variable
    };
    let label = Settings::read().cluster_label;
    let mut cluster = values("cluster", "Cluster", "", Some(".*"));
    let query = format!("label_values(elpio_build_info, {label})");
    merge(&mut cluster, json!({"definition": query}));
    cluster["query"]["query"] = json!(query);
    let of_cluster = format!("{label}=~\"$cluster\"");
    let of_namespace = format!("{of_cluster},namespace=~\"$namespace\"");
    json!([
        source("datasource", "Prometheus", "prometheus"),
        cluster,
        values("namespace", "Namespace", &format!("{{{of_cluster}}}"), Some(".*")),
        values("job", "Job", &format!("{{{of_namespace}}}"), None),
        values("instance", "Instance", &format!("{{{of_namespace},job=~\"$job\"}}"), Some(".*")),
        source("jaeger", "Jaeger", "jaeger"),
        source("tempo", "Tempo", "tempo"),
        json!({"name": "trace_id", "label": "Trace id", "type": "textbox", "query": "", "current": {"text": "", "value": ""},
            "options": [{"selected": true, "text": "", "value": ""}], "hide": 0}),
    ])
}

/// A query of a table as it is on the dashboard: `@` is the choice of an installation, and two words are the objective's.
pub fn query(expr: &str) -> String {
    let objective = Settings::read().objective;
    let ratio = |window: &str| {
        let missed = objective.missed("kind, engine", ",@", window).replace('\n', "");
        format!("({missed}) / ({} > 0)", Objective::counted("kind, engine", ",@", window))
    };
    let expr = match expr {
        "BUDGET_LEFT" => format!("1 - ({}) / {}", ratio("$__range"), objective.ratio(1.0)),
        "MISSED" => ratio("$__rate_interval"),
        expr => expr.to_owned(),
    };
    expr.replace('@', &selector())
}
