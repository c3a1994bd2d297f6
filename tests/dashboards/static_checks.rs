//! The committed dashboards keep every rule, and every rule catches what breaks it.

use std::collections::BTreeSet;

use elpio_cluster::dashboard::{self, Dashboard};
use elpio_operator::telemetry::catalog::instruments::INSTRUMENTS;
use serde_json::{Value, json};

use crate::{
    BOARDS,
    promql::names,
    rules::{exemplars, form, instrument, units, vocabulary, words},
};

type Rule = fn(&Dashboard) -> Vec<String>;

#[track_caller]
fn none(rule: Rule) {
    let found: Vec<String> = committed()
        .iter()
        .flat_map(|one| rule(one).into_iter().map(|what| format!("{}: {what}", one.file)).collect::<Vec<_>>())
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

fn committed() -> Vec<Dashboard> {
    dashboard::all().unwrap()
}

#[test]
fn the_committed_files_are_the_tables() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/dashboards");
    for board in BOARDS {
        let path = format!("{folder}/{}", board.file);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, board.render()).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == board.render(),
            "dashboards/{} is not its table: UPDATE_GOLDEN=1 cargo test --test dashboards",
            board.file
        );
    }
    assert_eq!(committed().len(), BOARDS.len(), "a file that no table makes");
}

#[test]
fn grafana_can_import_them() {
    none(form);
    let uids: BTreeSet<String> = committed().into_iter().map(|one| one.uid).collect();
    assert_eq!(uids.len(), BOARDS.len());
}

#[test]
fn every_panel_describes_what_it_shows() {
    none(words);
}

#[test]
fn every_name_is_in_the_table_of_instruments() {
    none(vocabulary);
}

#[test]
fn every_unit_follows_from_the_instrument() {
    none(units);
}

#[test]
fn every_exemplar_is_shown() {
    none(exemplars);
}

#[test]
fn every_instrument_is_on_a_dashboard() {
    let boards = committed();
    let queries = boards.iter().flat_map(|one| &one.panels).flat_map(|panel| &panel.queries);
    let metrics = queries.flat_map(|query| names(&query.expr).unwrap().metrics);
    let shown: BTreeSet<&str> =
        metrics.filter_map(|(metric, _)| instrument(&metric)).map(|row| row.name).collect();
    let missing: Vec<&str> =
        INSTRUMENTS.iter().map(|row| row.name).filter(|name| !shown.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn links_lead_to_a_trace_in_explore() {
    for one in committed() {
        let links = one.json["links"].as_array().unwrap();
        let urls: Vec<&str> = links.iter().filter_map(|link| link["url"].as_str()).collect();
        assert_eq!(urls.len(), 2, "{links:?}");
        for (url, name) in urls.iter().zip(["${jaeger}", "${tempo}"]) {
            let panes = url.strip_prefix("/explore?schemaVersion=1&panes=").unwrap();
            assert!(!panes.contains(['"', ' ', '[', '&', '#']), "{panes}");
            let pane = &serde_json::from_str::<Value>(&unescaped(panes)).unwrap()["trace"];
            let query = &pane["queries"][0];
            assert_eq!(
                (&pane["datasource"], &query["datasource"]["uid"], &query["query"]),
                (&json!(name), &json!(name), &json!("${trace_id}"))
            );
        }
    }
}

fn unescaped(text: &str) -> String {
    let mut parts = text.split('%');
    let head = parts.next().unwrap_or_default().to_owned();
    parts.fold(head, |all, part| {
        format!("{all}{}{}", char::from(u8::from_str_radix(&part[..2], 16).unwrap()), &part[2..])
    })
}

#[test]
fn the_samples_of_provisioning_fit_the_dashboards() {
    let sample = |file: &str| -> (String, Value) {
        let text =
            std::fs::read_to_string(format!("{}/dashboards/provisioning/{file}", env!("CARGO_MANIFEST_DIR")))
                .unwrap();
        let yaml = serde_saphyr::from_str(&text).unwrap();
        (text, yaml)
    };
    let (text, providers) = sample("dashboards.yaml");
    assert!(
        providers["providers"][0]["options"]["path"].is_string()
            && BOARDS.iter().all(|board| text.contains(board.file)),
        "{text}"
    );
    let sources = sample("datasources.yaml").1["datasources"].clone();
    let exemplars = &sources[0]["jsonData"]["exemplarTraceIdDestinations"][0];
    assert_eq!(
        (&exemplars["name"], &exemplars["datasourceUid"]),
        (&json!("trace_id"), &sources[1]["uid"]),
        "{sources}"
    );
}

/// A dashboard of one panel that keeps every rule, changed at one place.
fn broken(pointer: &str, value: Value) -> Dashboard {
    let chosen = "cluster=~\"$cluster\",namespace=~\"$namespace\",job=~\"$job\",instance=~\"$instance\"";
    let expr =
        format!("sum by (kind) (rate(elpio_reconcile_total{{{chosen},result=\"error\"}}[$__rate_interval]))");
    let mut json = json!({"uid": "a", "title": "A", "schemaVersion": 42,
        "templating": {"list": [{"name": "job", "type": "query", "query": {"query": "label_values(elpio_build_info, job)"}}]},
        "panels": [{"id": 1, "type": "timeseries", "title": "B", "description": "What it shows.", "gridPos": {"x": 0, "y": 0, "w": 8, "h": 8},
            "datasource": {"uid": "${datasource}"}, "fieldConfig": {"defaults": {"unit": "ops"}},
            "targets": [{"expr": expr, "legendFormat": "{{kind}}", "exemplar": false}]}]});
    if let Some(location) = json.pointer_mut(pointer) {
        *location = match (value.as_str().and_then(|text| text.split_once("→")), location.as_str()) {
            (Some((from, to)), Some(old)) => {
                assert!(old.contains(from), "{old}");
                json!(old.replace(from, to))
            }
            _ => value,
        };
    }
    Dashboard::new("a.json".to_owned(), json)
}

#[test]
fn every_rule_catches_what_breaks_it() {
    const EXPR: &str = "/panels/0/targets/0/expr";
    for rule in [form, words, vocabulary, units, exemplars] {
        assert_eq!(rule(&broken("/none", Value::Null)), [""; 0]);
    }
    let cases: [(Rule, &str, Value, &str); 18] = [
        (form, "/schemaVersion", json!(30), "schemaVersion 30"),
        (form, "/uid", json!(""), "a uid"),
        (form, "/panels/0/id", json!(null), "the id null"),
        (form, "/panels/0/gridPos/x", json!(20), "no place"),
        (form, "/panels/0/datasource/uid", json!("P1809F7CD0C75ACF3"), "no variable"),
        (form, "/panels/0/datasource", json!("Prometheus"), "no variable"),
        (words, "/panels/0/description", json!(""), "a sentence"),
        (words, "/panels/0/targets/0/legendFormat", json!(""), "a legend"),
        (words, "/panels/0/targets", json!([]), "a query"),
        (words, "/panels/0/type", json!("graph"), "the kind"),
        (vocabulary, EXPR, json!("elpio_reconcile_total→elpio_reconciles_total"), "not in the table"),
        (vocabulary, EXPR, json!("(kind)→(kind, engine)"), "has no engine"),
        (vocabulary, EXPR, json!("\"error\"→\"failed\""), "never result=failed"),
        (vocabulary, EXPR, json!("$__rate_interval→5m"), "[5m]"),
        (vocabulary, EXPR, json!("job=~\"$job\",→"), "does not heed $job"),
        (
            vocabulary,
            "/templating/list/0/query/query",
            json!("label_values(elpio_info, job)"),
            "not in the table",
        ),
        (units, "/panels/0/fieldConfig/defaults/unit", json!("s"), "the unit \"s\""),
        (exemplars, "/panels/0/targets/0/exemplar", json!(true), "exemplar is true"),
    ];
    for (rule, pointer, value, reported) in cases {
        let found = rule(&broken(pointer, value.clone()));
        assert!(found.len() == 1 && found[0].contains(reported), "{pointer} {value}: {found:?}");
    }
}
