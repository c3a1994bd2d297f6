//! Panels and alerts agree: a panel that names an alert shows a metric of it, states its threshold, and turns red there.

use std::collections::BTreeSet;

use elpio_cluster::dashboard;
use elpio_support::{
    alerting::{panels, read},
    objective::{OBJECTIVE_GROUP, Settings},
};
use serde_json::Value;

use crate::{promql::names, rules::instrument};

/// Panels that show what an alert is about, with the alert and its threshold as the panel states it.
const AGREE: &[(&str, &str, &str, f64, &str)] = &[
    ("operator.json", "Error ratio", "ElpioReconcileErrors", 0.1, "10 %"),
    ("operator.json", "Error ratio by kind", "ElpioReconcileErrors", 0.1, "10 %"),
    ("operator.json", "Oldest unsettled", "ElpioUnsettled", 180.0, "180 s"),
    ("services.json", "Oldest unsettled", "ElpioUnsettled", 180.0, "180 s"),
    ("services.json", "Age of the oldest unsettled edit", "ElpioUnsettled", 180.0, "180 s"),
    ("clients.json", "Stalest watch", "ElpioWatchStale", 150.0, "150 s"),
    ("clients.json", "Time in the queue", "ElpioQueueSlow", 10.0, "10 s"),
    ("clients.json", "Longest work under way", "ElpioWorkerStuck", 120.0, "120 s"),
    ("builds.json", "Failed ratio", "ElpioBuildsFailing", 0.25, "25 %"),
];

fn alerts() -> Vec<(String, String)> {
    let yaml: Value = serde_saphyr::from_str(&read("rules.yaml")).unwrap();
    let groups = yaml["groups"].as_array().unwrap().iter().filter(|group| group["name"] != OBJECTIVE_GROUP);
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
    rules
        .map(|rule| [&rule["alert"], &rule["expr"]].map(|text| text.as_str().unwrap().to_owned()).into())
        .collect()
}

#[test]
fn panels_turn_red_and_warn_where_alerts_fire() {
    let alerts = alerts();
    for (file, title, alert, threshold, stated) in AGREE {
        let expr = &alerts.iter().find(|(name, _)| name == alert).unwrap().1;
        assert!(expr.contains(&format!("> {threshold}")), "{alert}: {threshold} is not in {expr}");
        let boards = dashboard::all().unwrap();
        let board = boards.iter().find(|board| board.file == *file).unwrap();
        let own: Vec<&Value> = board.json["panels"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|panel| panel["title"] == *title)
            .collect();
        assert!(!own.is_empty(), "{file}: {title}");
        for panel in own {
            let description = panel["description"].as_str().unwrap();
            assert!(description.contains(stated), "{file} {title}: {description}");
            let steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"].as_array();
            let red = steps
                .map(|steps| steps.iter().find(|step| step["color"] == "red").unwrap()["value"].as_f64());
            assert!(red.is_none_or(|red| red == Some(*threshold)), "{file} {title}: {red:?}");
        }
    }
}

#[test]
fn the_objectives_panel_states_its_ratios() {
    let objective = Settings::read().objective;
    let boards = dashboard::all().unwrap();
    let panel = boards
        .iter()
        .flat_map(|board| &board.panels)
        .find(|panel| panel.title == "Missed the objective")
        .unwrap();
    for burn in &objective.burn {
        let stated = format!("{} %", objective.ratio(burn.factor) * 100.0);
        assert!(panel.description.contains(&stated), "{stated}: {}", panel.description);
    }
}

/// Every alert leads to a panel, and that shows a metric that the alert is made of.
#[test]
fn every_alert_leads_to_a_panel_of_its_metrics() {
    let panels = panels();
    let names_of = |expr: &str| -> BTreeSet<String> {
        names(expr).unwrap().metrics.into_iter().map(|(metric, _)| family(&metric)).collect()
    };
    for (alert, expr) in alerts() {
        let path = panels.get(&alert).unwrap_or_else(|| panic!("no panel names {alert}"));
        let boards = dashboard::all().unwrap();
        let board = boards.iter().find(|board| path.contains(&format!("/{}?", board.uid))).unwrap();
        let panel = board.panels.iter().find(|panel| path.ends_with(&format!("panel-{}", panel.id))).unwrap();
        let shown: BTreeSet<String> = panel.queries.iter().flat_map(|query| names_of(&query.expr)).collect();
        let bare: Vec<&str> = expr.lines().map(|line| line.split('#').next().unwrap()).collect();
        let wanted = names_of(&bare.join("\n"));
        let others = wanted.iter().any(|name| name.starts_with("elpio:") || name.starts_with("kube_"));
        assert!(others || !wanted.is_disjoint(&shown), "{alert}: {wanted:?}; {}: {shown:?}", panel.title);
    }
}

fn family(metric: &str) -> String {
    instrument(metric).map_or(metric, |row| row.prometheus_name).to_owned()
}

#[test]
fn the_intervals_agree() {
    let root = elpio_cluster::repository_root();
    let file = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    for (path, line) in [
        ("otel/prometheus.yml", "  scrape_interval: 15s"),
        ("deploy/chart/values.yaml", "  interval: 15s"),
        ("dashboards/provisioning/datasources.yaml", "      timeInterval: 15s"),
    ] {
        assert!(file(path).lines().any(|found| found.starts_with(line)), "{path}: no {line:?}");
    }
}

#[test]
fn the_scrape_finds_every_replica_until_its_end() {
    let root = elpio_cluster::repository_root();
    let file = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let scrape: Value = serde_saphyr::from_str(&file("otel/prometheus.yml")).unwrap();
    let target = &scrape["scrape_configs"][0]["dns_sd_configs"][0];
    let install = file("deploy/install.yaml");
    let objects = install.split("\n---\n").map(|text| serde_saphyr::from_str::<Value>(text).unwrap());
    let name = |object: &Value| {
        let (name, namespace) = (&object["metadata"]["name"], &object["metadata"]["namespace"]);
        format!("{}.{}.svc", name.as_str().unwrap_or_default(), namespace.as_str().unwrap_or_default())
    };
    let service = objects
        .filter(|object| object["kind"] == "Service")
        .find(|object| target["names"][0] == name(object))
        .expect("the Service that is scraped");
    let spec = &service["spec"];
    assert_eq!(spec["clusterIP"], "None", "an address for each replica");
    assert_eq!(spec["publishNotReadyAddresses"], true, "a replica that drains is not ready");
    assert_eq!(spec["ports"][0]["port"], target["port"]);
}

#[test]
fn annotations_name_what_exists() {
    for board in dashboard::all().unwrap() {
        let list = board.json["annotations"]["list"].as_array().unwrap();
        assert_eq!(list.len(), 2, "{}", board.file);
        for annotation in list {
            let named = names(annotation["expr"].as_str().unwrap()).unwrap();
            assert!(named.metrics.iter().all(|(metric, _)| instrument(metric).is_some()), "{named:?}");
        }
    }
}
