//! The rules that a dashboard keeps, each a function to offences: Grafana's form, and the operator's table of
//! instruments.

use std::collections::HashSet;

use elpio_cluster::dashboard::{Dashboard, Panel, Query};
use elpio_operator::telemetry::catalog::instruments::{
    AllowedValues, INSTRUMENTS, InstrumentDef, InstrumentKind,
};
use serde_json::Value;

use crate::promql::{Matcher, Named, names};

/// Labels of the scrape.
const OF_TARGET: [&str; 4] = ["cluster", "namespace", "job", "instance"];
const KINDS: [&str; 4] = ["timeseries", "stat", "heatmap", "text"];

/// A histogram's series are told by their ends.
pub fn instrument(metric: &str) -> Option<&'static InstrumentDef> {
    let family = |suffix: &str| metric.strip_suffix(suffix);
    INSTRUMENTS.iter().copied().find(|row| {
        let histogram = row.kind == InstrumentKind::Histogram
            && ["_bucket", "_sum", "_count"].into_iter().any(|end| family(end) == Some(row.prometheus_name));
        histogram || (row.kind != InstrumentKind::Histogram && row.prometheus_name == metric)
    })
}

/// The form: schema, ids, places, and no data source by its id.
pub fn form(dashboard: &Dashboard) -> Vec<String> {
    let mut offences = Vec::new();
    let json = &dashboard.json;
    if !matches!(json["schemaVersion"].as_u64(), Some(41 | 42)) {
        offences.push(format!("schemaVersion {}", json["schemaVersion"]));
    }
    if dashboard.uid.is_empty() || dashboard.title.is_empty() || json["id"].is_u64() {
        offences.push("a uid, a title and no id".to_owned());
    }
    let mut ids = HashSet::new();
    let mut cells = HashSet::new();
    for panel in json["panels"].as_array().into_iter().flatten() {
        let title = &panel["title"];
        if panel["id"].as_u64().is_none_or(|id| !ids.insert(id)) {
            offences.push(format!("{title}: the id {} is there twice, or none", panel["id"]));
        }
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap_or(99));
        if x + w > 24
            || (y..y + h).flat_map(|y| (x..x + w).map(move |x| (x, y))).any(|cell| !cells.insert(cell))
        {
            offences.push(format!("{title}: no place of its own in the grid"));
        }
    }
    // The dashboard's own uid is no data source's.
    let inside = json.as_object().into_iter().flatten().filter(|(key, _)| *key != "uid");
    inside.for_each(|(_, value)| sources(value, &mut offences));
    offences
}

fn sources(value: &Value, offences: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let variable = |text: &str| text.starts_with("${") && text.ends_with('}');
                let source = value.as_str().filter(|_| key == "uid" || key == "datasource");
                if source.is_some_and(|uid| !variable(uid)) {
                    offences.push(format!("the data source {value} is no variable"));
                }
                sources(value, offences);
            }
        }
        Value::Array(all) => all.iter().for_each(|value| sources(value, offences)),
        _ => {}
    }
}

/// What a person reads of each panel, and that it has something to show.
pub fn words(dashboard: &Dashboard) -> Vec<String> {
    let mut offences = Vec::new();
    for panel in &dashboard.panels {
        let mut offence = |what: &str| offences.push(format!("{}: {what}", panel.title));
        if panel.title.is_empty() || panel.description.len() < 10 || !panel.description.ends_with('.') {
            offence("a title, and a sentence about it");
        }
        if !KINDS.contains(&panel.kind.as_str()) {
            offence(&format!("the kind {}", panel.kind));
        }
        if panel.queries.is_empty() != (panel.kind == "text") {
            offence("a query, where it is no text");
        }
        if panel.queries.iter().any(|query| query.legend.is_empty()) {
            offence("a legend");
        }
    }
    offences
}

/// Metrics, labels and values are the table's.
pub fn vocabulary(dashboard: &Dashboard) -> Vec<String> {
    let mut offences = Vec::new();
    for panel in &dashboard.panels {
        for query in &panel.queries {
            offences.extend(names_of(query).into_iter().map(|what| format!("{}: {what}", panel.title)));
        }
    }
    for variable in dashboard.variables.iter().filter(|variable| variable.kind == "query") {
        let found = variable.label_values().ok_or_else(|| "no label_values".to_owned()).and_then(
            |(selector, label)| {
                let mut named = names(selector)?;
                named.labels.push(label.to_owned());
                Ok(named)
            },
        );
        let found = found.map_or_else(|error| vec![error], |named| of_table(&named));
        offences.extend(found.into_iter().map(|what| format!("${}: {what}", variable.name)));
    }
    offences
}

fn names_of(query: &Query) -> Vec<String> {
    let named = match names(&query.expr) {
        Ok(named) => named,
        Err(error) => return vec![error],
    };
    let mut offences = of_table(&named);
    let shown = query
        .legend
        .split("{{")
        .skip(1)
        .filter_map(|part| part.split_once("}}"))
        .map(|(label, _)| label.trim());
    let is_there = |label: &str| match named.labels.as_slice() {
        [] => named.metrics.iter().all(|(metric, _)| has(metric, label)),
        labels => labels.iter().any(|known| known == label),
    };
    offences.extend(
        shown
            .filter(|label| !is_there(label))
            .map(|label| format!("the legend's {label} is gone from the result")),
    );
    let grafanas = |range: &String| range == "$__rate_interval" || range == "$__range";
    offences.extend(
        named
            .ranges
            .iter()
            .filter(|range| !grafanas(range))
            .map(|range| format!("[{range}] is not Grafana's choice")),
    );
    for (metric, matchers) in &named.metrics {
        let chosen = |label: &&&str| {
            !matchers.iter().any(|m| m.label == **label && m.sign == "=~" && m.value == format!("${label}"))
        };
        offences
            .extend(OF_TARGET.iter().filter(chosen).map(|label| format!("{metric} does not heed ${label}")));
    }
    offences
}

fn of_table(named: &Named) -> Vec<String> {
    let mut offences = Vec::new();
    for (metric, matchers) in &named.metrics {
        if metric != "up" && instrument(metric).is_none() {
            offences.push(format!("{metric} is not in the table"));
            continue;
        }
        let labels = named
            .labels
            .iter()
            .map(String::as_str)
            .chain(matchers.iter().map(|matcher| matcher.label.as_str()));
        offences.extend(
            labels.filter(|label| !has(metric, label)).map(|label| format!("{metric} has no {label}")),
        );
        offences.extend(matchers.iter().flat_map(|matcher| unknown(metric, matcher)));
    }
    offences
}

fn has(metric: &str, label: &str) -> bool {
    let own = || {
        instrument(metric).is_some_and(|row| {
            row.attributes.iter().any(|attribute| attribute.key.replace('.', "_") == label)
        })
    };
    OF_TARGET.contains(&label) || (label == "le" && metric.ends_with("_bucket")) || own()
}

/// Values that the label never has. A regular expression has to match one of them.
fn unknown(metric: &str, matcher: &Matcher) -> Vec<String> {
    let attribute = instrument(metric)
        .and_then(|row| row.attributes.iter().find(|a| a.key.replace('.', "_") == matcher.label));
    let Some(AllowedValues::Closed(values)) = attribute.map(|attribute| attribute.values) else {
        return Vec::new();
    };
    let is_known = |word: &str| {
        values
            .iter()
            .any(|value| word.strip_suffix(".*").map_or(*value == word, |head| value.starts_with(head)))
    };
    let wrong = matcher.value.split('|').filter(|word| !is_known(word));
    wrong.map(|word| format!("{metric} has never {}={word}", matcher.label)).collect()
}

/// The unit that is shown follows from the instrument's and from what the query does with it.
pub fn units(dashboard: &Dashboard) -> Vec<String> {
    let mut offences = Vec::new();
    for panel in &dashboard.panels {
        for query in &panel.queries {
            let Ok(named) = names(&query.expr) else { continue };
            let units = allowed(panel, query, &named);
            if !units.contains(&panel.unit.as_str()) {
                offences.push(format!(
                    "{}: the unit {:?} is none of {units:?} ({})",
                    panel.title, panel.unit, query.expr
                ));
            }
        }
    }
    offences
}

fn allowed(panel: &Panel, query: &Query, named: &Named) -> &'static [&'static str] {
    let calls = |name: &str| named.functions.iter().any(|function| function == name);
    let own =
        match named.metrics.first().and_then(|(metric, _)| instrument(metric)).map_or("", |row| row.unit) {
            "s" => &["s"][..],
            "By" => &["bytes"],
            _ => &["short"],
        };
    if calls("histogram_quantile") || panel.kind == "heatmap" {
        return own;
    }
    let per_second = match (named.metrics.first().map_or("", |(metric, _)| metric.as_str()), own) {
        ("http_client_request_duration_seconds_count", _) => &["reqps"][..],
        (metric, ["s"]) if !metric.ends_with("_count") => &["percentunit"],
        _ => &["ops", "cps"],
    };
    match (query.expr.contains(") / ("), calls("rate"), calls("increase") || calls("count")) {
        (true, ..) => &["percentunit"],
        (false, true, _) => per_second,
        (false, false, true) => &["short"],
        _ => own,
    }
}

/// Where a bucket keeps a trace, the panel leads to it, and nowhere else.
pub fn exemplars(dashboard: &Dashboard) -> Vec<String> {
    let mut offences = Vec::new();
    for panel in &dashboard.panels {
        for query in &panel.queries {
            let Ok(named) = names(&query.expr) else { continue };
            // An exemplar is at the bucket that its value falls into, so one bucket by name may have none.
            let kept = named.metrics.iter().any(|(metric, matchers)| {
                let of_all = matchers.iter().all(|matcher| matcher.label != "le");
                of_all && metric.ends_with("_bucket") && instrument(metric).is_some_and(|row| row.exemplars)
            });
            let shown = panel.kind == "heatmap" || panel.kind == "timeseries";
            if query.exemplar != (kept && shown) {
                offences.push(format!("{}: exemplar is {} ({})", panel.title, query.exemplar, query.expr));
            }
        }
    }
    offences
}
