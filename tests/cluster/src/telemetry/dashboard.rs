//! The Grafana dashboards in `dashboards/`, read as Grafana reads them: panels, queries, variables. It draws
//! nothing. (No Grafana model crate is maintained; a few fields of the JSON are enough.)

use serde_json::Value;

use crate::{Prometheus, repository_root};

/// One dashboard.
#[derive(Clone, Debug)]
pub struct Dashboard {
    /// The uid in its URL.
    pub uid: String,
    /// Its title.
    pub title: String,
    /// `operator.json`, …
    pub file: String,
    /// From top to bottom, including panels inside rows, but no rows.
    pub panels: Vec<Panel>,
    /// In order: a query may use the variables before it.
    pub variables: Vec<Variable>,
    /// The whole file.
    pub json: Value,
}

/// One panel.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Unique in its dashboard.
    pub id: u64,
    /// Its title.
    pub title: String,
    /// `timeseries`, `stat`, `heatmap`, `text`, …
    pub kind: String,
    /// Grafana's unit: `s`, `bytes`, `percentunit`, …
    pub unit: String,
    /// What it shows, and when to act.
    pub description: String,
    /// Whether its series are stacked.
    pub stacked: bool,
    /// Empty for a text panel.
    pub queries: Vec<Query>,
}

/// A query of a panel.
#[derive(Clone, Debug)]
pub struct Query {
    /// `PromQL` with Grafana's variables.
    pub expr: String,
    /// The template of series names: `{{label}}` is replaced by a label's value.
    pub legend: String,
    /// Whether exemplars are shown.
    pub exemplar: bool,
}

/// A dashboard variable.
#[derive(Clone, Debug)]
pub struct Variable {
    /// Without `$`.
    pub name: String,
    /// `datasource`, `query`, `textbox`, …
    pub kind: String,
    /// Such as `label_values(metric, label)`.
    pub query: String,
    /// The custom value of "All".
    pub all: Option<String>,
}

/// Names and values of variables.
pub type VariableValues = Vec<(String, String)>;

/// All dashboards of the repository, by file name.
///
/// # Errors
/// If one cannot be read; the error names it.
pub fn all() -> Result<Vec<Dashboard>, String> {
    let dir = repository_root().join("dashboards");
    let entries = std::fs::read_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
    paths.sort();
    paths.iter().map(|path| read(path).map_err(|error| format!("{}: {error}", path.display()))).collect()
}

fn read(path: &std::path::Path) -> Result<Dashboard, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let json = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    Ok(Dashboard::new(path.file_name().unwrap_or_default().to_string_lossy().into_owned(), json))
}

impl Dashboard {
    /// Reads a dashboard's JSON.
    #[must_use]
    pub fn new(file: String, json: Value) -> Self {
        let mut panels = Vec::new();
        for panel in list(&json["panels"]) {
            if panel["type"] == "row" {
                panels.extend(list(&panel["panels"]).iter().map(Panel::read));
            } else {
                panels.push(Panel::read(panel));
            }
        }
        let variables = list(&json["templating"]["list"]).iter().map(Variable::read).collect();
        Self { uid: text(&json["uid"]), title: text(&json["title"]), file, panels, variables, json }
    }

    /// Selects "All" for each variable with a query, as Grafana inserts it into queries.
    ///
    /// # Errors
    /// If Prometheus rejects a variable's query.
    pub async fn select_all(&self, prometheus: &Prometheus) -> Result<VariableValues, String> {
        let mut selected = VariableValues::new();
        for variable in self.variables.iter().filter(|variable| variable.kind == "query") {
            let value = match &variable.all {
                Some(all) => all.clone(),
                None => variable.values(prometheus, &selected).await?.join("|"),
            };
            selected.push((variable.name.clone(), value));
        }
        Ok(selected)
    }
}

impl Panel {
    fn read(panel: &Value) -> Self {
        Self {
            id: panel["id"].as_u64().unwrap_or_default(),
            title: text(&panel["title"]),
            kind: text(&panel["type"]),
            unit: match panel["type"].as_str() {
                Some("heatmap") => text(&panel["options"]["yAxis"]["unit"]),
                _ => text(&panel["fieldConfig"]["defaults"]["unit"]),
            },
            description: text(&panel["description"]),
            stacked: panel["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal",
            queries: list(&panel["targets"]).iter().map(Query::read).collect(),
        }
    }
}

impl Query {
    fn read(target: &Value) -> Self {
        Self {
            expr: text(&target["expr"]),
            legend: text(&target["legendFormat"]),
            exemplar: target["exemplar"] == true,
        }
    }

    /// The expression with variables replaced; a variable without a value matches everything.
    #[must_use]
    pub fn resolve(&self, rate_interval: &str, variables: &[(String, String)]) -> String {
        interpolate(&self.expr, rate_interval, variables)
    }

    /// The series name for these labels.
    #[must_use]
    pub fn legend_for(&self, labels: &std::collections::BTreeMap<String, String>) -> String {
        let mut parts = self.legend.split("{{");
        let mut legend = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (key, rest) = part.split_once("}}").unwrap_or((part, ""));
            legend.push_str(labels.get(key.trim()).map_or("", String::as_str));
            legend.push_str(rest);
        }
        legend.trim().to_owned()
    }
}

impl Variable {
    fn read(variable: &Value) -> Self {
        let query = variable["query"].as_str().or(variable["query"]["query"].as_str()).unwrap_or_default();
        Self {
            name: text(&variable["name"]),
            kind: text(&variable["type"]),
            query: query.to_owned(),
            all: variable["allValue"].as_str().map(str::to_owned),
        }
    }

    /// Metric selector and label of `label_values(selector, label)`.
    #[must_use]
    pub fn label_values(&self) -> Option<(&str, &str)> {
        let inner = self.query.strip_prefix("label_values(")?.strip_suffix(')')?;
        let (selector, label) = inner.rsplit_once(',')?;
        Some((selector.trim(), label.trim()))
    }

    async fn values(
        &self,
        prometheus: &Prometheus,
        selected: &[(String, String)],
    ) -> Result<Vec<String>, String> {
        let Some((selector, label)) = self.label_values() else {
            return Err(format!("{}: unsupported query {}", self.name, self.query));
        };
        let series = prometheus.query(&interpolate(selector, "", selected)).await?;
        let mut values: Vec<String> = series.iter().map(|found| found.label(label).to_owned()).collect();
        values.sort();
        values.dedup();
        Ok(values)
    }
}

/// Replaces `$name`, `${name}` and `${name:format}`.
fn interpolate(text: &str, rate_interval: &str, variables: &[(String, String)]) -> String {
    let mut parts = text.split('$');
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = if let Some(inner) = part.strip_prefix('{') {
            inner.split_once('}').unwrap_or((inner, ""))
        } else {
            let end =
                part.find(|char: char| !char.is_ascii_alphanumeric() && char != '_').unwrap_or(part.len());
            part.split_at(end)
        };
        let name = name.split(':').next().unwrap_or_default();
        let value = variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        all.push_str(match name {
            "__rate_interval" => rate_interval,
            _ => value.unwrap_or(".*"),
        });
        all.push_str(rest);
    }
    all
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn variables_are_replaced_in_every_notation() {
        let query = |expr: &str| Query {
            expr: expr.to_owned(),
            legend: "{{kind}} of {{ name }}".to_owned(),
            exemplar: false,
        };
        let job = [("job".to_owned(), "a|b".to_owned())];
        for (expr, resolved) in [
            ("rate(m{job=~\"$job\"}[$__rate_interval])", "rate(m{job=~\"a|b\"}[4s])"),
            ("m{job=~\"${job:regex}\",jobs=~\"$jobs\"} > ${job}", "m{job=~\"a|b\",jobs=~\".*\"} > a|b"),
            ("m", "m"),
        ] {
            assert_eq!(query(expr).resolve("4s", &job), resolved);
        }
        let labels = [("kind", "X"), ("name", "y")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(query("").legend_for(&labels.into()), "X of y");
    }

    #[test]
    fn panels_inside_rows_and_units_of_heatmaps_are_found() {
        let graph = json!({"id": 2, "type": "timeseries", "title": "A", "fieldConfig": {"defaults": {"unit": "s"}}, "targets": [{"expr": "a"}]});
        let map = json!({"id": 3, "type": "heatmap", "options": {"yAxis": {"unit": "s"}}});
        let variable =
            json!({"name": "job", "type": "query", "query": {"query": "label_values(m{a=\"b,c\"}, job)"}});
        let json = json!({"uid": "u", "panels": [{"type": "row", "panels": [graph]}, map], "templating": {"list": [variable]}});
        let dashboard = Dashboard::new("u.json".to_owned(), json);
        let found: Vec<_> = dashboard
            .panels
            .iter()
            .map(|panel| (panel.id, panel.unit.as_str(), panel.queries.len()))
            .collect();
        assert_eq!(found, [(2, "s", 1), (3, "s", 0)]);
        assert_eq!(dashboard.variables[0].label_values(), Some(("m{a=\"b,c\"}", "job")));
    }
}
