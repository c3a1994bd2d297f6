//! The rules files as they have to be: the template with the settings filled in, and each alert with its panel. It
//! writes nothing.

use std::{collections::BTreeMap, fmt::Write as _};

use elpio_cluster::{dashboard, repository_root};

use crate::objective::Settings;

/// A file of `dashboards/alerts`.
pub fn read(name: &str) -> String {
    std::fs::read_to_string(repository_root().join("dashboards/alerts").join(name)).unwrap_or_default()
}

/// For each alert the path of the panel that shows what it is about, as panels name their alerts.
pub fn panels() -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for board in dashboard::all().expect("dashboards") {
        for panel in board.json["panels"].as_array().into_iter().flatten() {
            for link in panel["links"].as_array().into_iter().flatten() {
                let alert = link["title"].as_str().unwrap_or_default().to_owned();
                let path = format!("/d/{}?viewPanel=panel-{}", board.uid, panel["id"]);
                all.entry(alert).or_insert(path);
            }
        }
    }
    all
}

/// `rules.yaml`.
pub fn rules(settings: &Settings) -> String {
    let template = read("template.yaml");
    let (_, groups) = template.split_once("\ngroups:\n").expect("groups");
    let head: String = template
        .lines()
        .skip(3)
        .take_while(|line| line.starts_with('#'))
        .flat_map(|line| [line, "\n"])
        .collect();
    let installation = settings.installation();
    let groups = groups
        .replace("  <records>\n", &(settings.objective.records(&installation)))
        .replace("      <objective>\n", &settings.objective.alerts())
        .replace("<installation>", &installation)
        .replace("<cluster>", &settings.cluster_label);
    with_panels(&format!(
        "# Alerts on the Elpio operator, a plain Prometheus rules file. Generated from template.yaml and ../settings.yaml:\n\
         #   UPDATE_GOLDEN=1 cargo test --test dashboards alerts::generated\n#\n{head}groups:\n{groups}"
    ))
}

/// The same rules for the Prometheus Operator.
pub fn prometheus_rule(rules: &str) -> String {
    let (_, groups) = rules.split_once("\ngroups:\n").expect("groups");
    let indented: String = groups
        .lines()
        .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") })
        .collect();
    format!(
        "# rules.yaml for clusters with the Prometheus Operator; generated: UPDATE_GOLDEN=1 cargo test --test dashboards alerts::generated\n\
         apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: elpio-operator\n  namespace: elpio-system\n  labels:\n    \
         app.kubernetes.io/name: elpio-operator\nspec:\n  groups:\n{indented}"
    )
}

/// Each `runbook_url` is followed by the `dashboard_url` of the same alert.
pub fn with_panels(text: &str) -> String {
    let panels = panels();
    let mut all = String::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("dashboard_url: ")) {
        all += line;
        all.push('\n');
        let Some((margin, url)) = line.split_once("runbook_url: ") else { continue };
        if !margin.trim().is_empty() {
            continue;
        }
        let alert = url.rsplit('#').next().unwrap_or_default();
        let found = panels.iter().find(|(name, _)| name.to_lowercase() == alert);
        let path = found.map_or("none", |(_, path)| path.as_str());
        let _ = writeln!(all, "{margin}dashboard_url: {path}");
    }
    all
}
