//! The page, the collector's Prometheus exporter and Prometheus's OTLP receiver show the same: every series,
//! every bucket.

use std::collections::{BTreeMap, BTreeSet};

use elpio_cluster::{
    eventually,
    exposition::{self, Series},
    prometheus::promtool,
};

use crate::{
    backends::{Backends, target},
    live_env::{LiveEnv, TIMEOUT},
    load::load,
    report::table,
};

/// Labels that a backend adds to say whose series it is, and a series that tells of the resource.
const ADDED: [&str; 2] = ["instance", "job"];
const RESOURCE: &str = "target_info";

type Key = (String, BTreeMap<String, String>);
type Values = BTreeMap<Key, f64>;

/// What one place shows: values, and the type of each family where it tells them.
struct Shown {
    values: Values,
    types: BTreeMap<String, String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_and_the_backends_show_the_same_series_and_values() {
    let backends = Backends::shared().await;
    let env = backends.env("parity", &[]).await;
    load(&env).await;

    let volatile = volatile();
    let (page, collector, prometheus) = at_rest(backends, &env, &volatile).await;
    let mut rows = Vec::new();
    let mut families: Vec<&String> = page.types.keys().collect();
    families.sort();
    let (mut series, mut found) = (0, Vec::new());
    for family in families {
        let is_volatile = volatile.contains(family.as_str());
        let of = |shown: &Shown| of_family(&shown.values, family, &page.types[family]);
        let (own, exported, received) = (of(&page), of(&collector), of(&prometheus));
        let compared =
            [differences(&own, &exported, is_volatile), differences(&own, &received, is_volatile)].concat();
        if collector.types.get(family) != page.types.get(family) {
            found.push(format!("{family}: {:?} and {:?}", page.types[family], collector.types.get(family)));
        }
        series += own.len();
        rows.push(vec![
            family.clone(),
            page.types[family].clone(),
            if is_volatile { "names, labels, type" } else { "values too" }.to_owned(),
            own.len().to_string(),
            compared.len().to_string(),
        ]);
        found.extend(compared.into_iter().map(|what| format!("{family}: {what}")));
    }
    for (location, shown) in [("the collector", &collector), ("Prometheus", &prometheus)] {
        let more = shown
            .values
            .keys()
            .filter(|(name, _)| !page.types.keys().any(|family| is_of(name, family, &page.types[family])));
        found.extend(more.map(|(name, labels)| format!("only {location} has {name}{labels:?}")));
    }
    rows.push(vec![
        "all".to_owned(),
        String::new(),
        String::new(),
        series.to_string(),
        found.len().to_string(),
    ]);
    let title = "Parity: page = collector's Prometheus exporter = Prometheus's OTLP receiver";
    table(title, &["family", "type", "compared", "series", "differences"], &rows);
    assert!(found.is_empty(), "\n{}", found.join("\n"));
    assert!(series > 300, "{series} series are too few to say anything");
}

/// The three at a moment when nothing but the volatile instruments moves: seen by reading the page before and
/// after the others.
async fn at_rest(backends: &Backends, env: &LiveEnv, volatile: &BTreeSet<String>) -> (Shown, Shown, Shown) {
    let still = |page: &Shown| -> Values {
        let moves = |name: &str| volatile.iter().any(|family| is_of(name, family, "histogram"));
        page.values
            .iter()
            .filter(|((name, _), _)| !moves(name))
            .map(|(key, value)| (key.clone(), *value))
            .collect()
    };
    eventually("nothing moves while it is read", TIMEOUT, async || {
        let before = on_page(&env.operator.metrics("text/plain").await);
        pushed_since(env).await;
        let collector = collector(backends).await;
        let prometheus = prometheus(backends).await;
        let after = on_page(&env.operator.metrics("text/plain").await);
        let (first, second) = (still(&before), still(&after));
        if first != second {
            return Err("the page moves".to_owned());
        }
        // The last push may be on its way still, and what is gone for a moment longer there.
        let differing: Vec<String> = [&collector, &prometheus]
            .iter()
            .flat_map(|shown| differences(&first, &still(shown), false))
            .collect();
        if !differing.is_empty() {
            return Err(differing.join("\n"));
        }
        Ok((after, collector, prometheus))
    })
    .await
}

/// Two exports of metrics ended well after now.
async fn pushed_since(env: &LiveEnv) {
    let labels = [("signal", "metrics"), ("result", "success")];
    let before = env.counted("elpio_telemetry_exports_total", &labels).await;
    eventually("metrics are pushed", TIMEOUT, async || {
        match env.counted("elpio_telemetry_exports_total", &labels).await - before {
            exports if exports >= 3.0 => Ok(()),
            exports => Err(exports),
        }
    })
    .await;
}

fn on_page(text: &str) -> Shown {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let types = types
        .filter(|(name, _)| *name != RESOURCE)
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect();
    Shown { values: values(exposition::series(text), |_| true), types }
}

async fn collector(backends: &Backends) -> Shown {
    let text = backends.collector.metrics().await;
    Shown {
        values: values(exposition::series(&text), |series| series.label("instance") == "parity"),
        ..on_page(&text)
    }
}

async fn prometheus(backends: &Backends) -> Shown {
    // What was pushed in the last seconds: an instant query alone would show what is gone for five minutes.
    let query = "last_over_time({job=\"elpio/elpio-operator\",instance=\"parity\"}[2s])";
    let found = backends.prometheus.query(query).await.unwrap();
    Shown { values: values(found, |_| true), types: BTreeMap::new() }
}

fn values(all: Vec<Series>, wanted: impl Fn(&Series) -> bool) -> Values {
    let key = |mut series: Series| {
        series.labels.retain(|key, _| !ADDED.contains(&key.as_str()));
        // "1", "1.0" and "1e0" are one bound.
        if let Some(bound) = series.labels.get("le").and_then(|bound| bound.parse::<f64>().ok()) {
            series.labels.insert("le".to_owned(), format!("{bound:?}"));
        }
        ((series.name, series.labels), series.value)
    };
    all.into_iter().filter(|series| series.name != RESOURCE && wanted(series)).map(key).collect()
}

fn is_of(name: &str, family: &str, kind: &str) -> bool {
    name == family
        || (kind == "histogram"
            && ["_bucket", "_sum", "_count"].iter().any(|suffix| name.strip_suffix(suffix) == Some(family)))
}

fn of_family(values: &Values, family: &str, kind: &str) -> Values {
    values
        .iter()
        .filter(|((name, _), _)| is_of(name, family, kind))
        .map(|(key, value)| (key.clone(), *value))
        .collect()
}

/// What differs.
fn differences(page: &Values, other: &Values, volatile: bool) -> Vec<String> {
    let shown = |value: Option<&f64>| value.map_or("nothing".to_owned(), f64::to_string);
    let same = |a: Option<&f64>, b: Option<&f64>| if volatile { a.is_some() == b.is_some() } else { a == b };
    let keys: BTreeSet<&Key> = page.keys().chain(other.keys()).collect();
    let differing = keys.into_iter().filter(|key| !same(page.get(*key), other.get(*key)));
    differing
        .map(|key| format!("{}{:?}: {} and {}", key.0, key.1, shown(page.get(key)), shown(other.get(key))))
        .collect()
}

/// The families whose values move by themselves, as `otel/instruments.md` marks them.
fn volatile() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut marked = false;
    for line in include_str!("../../otel/instruments.md").lines() {
        if line.starts_with("## ") {
            marked = false;
        }
        marked |= line.starts_with("- ") && line.ends_with(", volatile");
        if let Some(name) = line.strip_prefix("- On the Prometheus page: `").filter(|_| marked) {
            found.insert(name.trim_end_matches('`').to_owned());
        }
    }
    assert!(found.len() >= 8, "{found:?}");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_no_fault_and_prometheus_scrapes_openmetrics() {
    let backends = Backends::shared().await;
    let env = backends.env("promtool", &[]).await;
    load(&env).await;
    let page = env.operator.metrics("text/plain").await;
    let (good, reported) =
        tokio::task::spawn_blocking(move || promtool(&["check", "metrics"], &page)).await.unwrap();
    assert!(good && reported.is_empty(), "{reported}");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/otel/prometheus.yml");
    let (good, reported) =
        tokio::task::spawn_blocking(move || promtool(&["check", "config", file], "")).await.unwrap();
    assert!(good, "{reported}");

    let series = elpio_cluster::exposition::series(
        &env.operator.metrics("application/openmetrics-text; version=1.0.0").await,
    )
    .len();
    let query = format!("scrape_samples_scraped{{instance=\"{}\"}}", target(&env.operator));
    eventually("Prometheus takes every series of the page", TIMEOUT, async || {
        let scraped = backends.prometheus.query(&query).await?.first().map_or(0.0, |found| found.value);
        #[allow(clippy::cast_precision_loss, reason = "thousands")]
        if (scraped - series as f64).abs() < 30.0 && scraped > 300.0 {
            Ok(())
        } else {
            Err(format!("{scraped} of {series}"))
        }
    })
    .await;
    let target_url = target(&env.operator);
    let up = backends
        .prometheus
        .targets()
        .await
        .unwrap()
        .into_iter()
        .find(|(url, ..)| url.contains(&target_url))
        .unwrap();
    assert!(up.1 && up.2.is_empty(), "{up:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_collectors_file_is_valid_as_it_is_without_any_variable() {
    let binary = tokio::task::spawn_blocking(elpio_cluster::components::collector).await.unwrap().unwrap();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/otel/collector.yaml");
    let output = tokio::process::Command::new(binary)
        .args(["validate", "--config", file])
        .env_clear()
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
