//! Every query of every panel, asked of a live Prometheus after a scripted load: each has something to show.

use std::time::Duration;

use elpio_cluster::{
    Dashboard, Prometheus, RangeSeries, TimeRange, Webhook,
    dashboard::{self, Panel, Query, VariableValues},
    eventually,
    webhook::Rule,
};
use elpio_demo::picture;
use jiff::Timestamp;
use kube::api::DeleteParams;
use serde_json::json;

use crate::{
    live_env::{LiveEnv, TIMEOUT, image, with},
    load::{begin_build, end_build},
    report::table,
};

const KSVC: &str = "services.serving.knative.dev";
/// As Grafana would choose it for a scrape of 5 s: a scrape that comes late on a busy machine leaves no gap.
const RATE_INTERVAL: &str = "20s";

/// What happens to users within a minute; each round in other names, so that every counter and histogram
/// grows between two scrapes.
async fn round(env: &LiveEnv, webhook: &Webhook, number: u32) {
    let named = |name: &str| format!("{name}-{number}");
    let keda = with(image("v1"), &json!({"engine": "keda"}));
    for (name, spec) in [("web", image("v1")), ("api", keda)] {
        env.apply(&named(name), &spec).await;
        env.ready(&named(name)).await;
    }
    env.apply(&named("web"), &image("v2")).await;
    env.ready(&named("web")).await;
    for (name, code) in [("rejected", 422), ("unavailable", 503)] {
        webhook.add(Rule::refuse(KSVC, code, "not today"));
        env.apply(&named(name), &image("v1")).await;
        env.event(&named(name), "Warning", "ReconcileFailed").await;
        webhook.clear();
        env.ready(&named(name)).await;
    }
    let invalid = with(image("v1"), &json!({"port": 8012, "env": [{"name": "PORT", "value": "1"}]}));
    env.apply(&named("invalid"), &invalid).await;
    env.event(&named("invalid"), "Warning", "ReconcileFailed").await;
    for (name, succeeded, (kind, reason)) in
        [("built", "True", ("Normal", "Ready")), ("unbuilt", "False", ("Warning", "BuildFailed"))]
    {
        let run = begin_build(env, &named(name)).await;
        end_build(env, &run, succeeded).await;
        env.event(&named(name), kind, reason).await;
    }
    env.services().delete(&named("web"), &DeleteParams::default()).await.unwrap();
    env.wait_until_deleted(&env.knative(), &named("web")).await;
    env.wait_until_idle().await;
}

/// Returns when everything that has happened until now was scraped.
async fn scraped(prometheus: &Prometheus) {
    let now = Timestamp::now();
    eventually("a scrape after all that", TIMEOUT, async || {
        let last = prometheus.query("timestamp(up == 1)").await?.first().map_or(0.0, |series| series.value);
        #[allow(clippy::cast_precision_loss, reason = "until the year 2255")]
        if last > now.as_millisecond() as f64 / 1000.0 {
            Ok(())
        } else {
            Err(format!("{last} is not after {now}"))
        }
    })
    .await;
}

/// A query's answer.
struct Seen<'a> {
    panel: &'a Panel,
    query: &'a Query,
    answer: Result<Vec<RangeSeries>, String>,
}

impl Seen<'_> {
    fn sample(&self) -> Option<f64> {
        self.answer.as_ref().ok()?.iter().find_map(RangeSeries::last_value)
    }
}

async fn ask<'a>(prometheus: &Prometheus, board: &'a Dashboard, window: TimeRange) -> Vec<Seen<'a>> {
    let mut variables: VariableValues = board.select_all(prometheus).await.unwrap();
    let range = window.end.duration_since(window.start).as_secs();
    variables.push(("__range".to_owned(), format!("{range}s")));
    let mut seen = Vec::new();
    for panel in &board.panels {
        for query in &panel.queries {
            let answer = prometheus.query_range(&query.resolve(RATE_INTERVAL, &variables), window).await;
            seen.push(Seen { panel, query, answer });
        }
    }
    seen
}

fn rows(board: &Dashboard, seen: &[Seen<'_>]) -> Vec<Vec<String>> {
    let of = |panel: &Panel| {
        let mine: Vec<&Seen<'_>> = seen.iter().filter(|seen| seen.panel.id == panel.id).collect();
        let series: usize = mine.iter().map(|seen| seen.answer.as_ref().map_or(0, Vec::len)).sum();
        let sample = mine
            .iter()
            .find_map(|seen| seen.sample())
            .map_or("none".to_owned(), |value| format!("{value:.4}"));
        vec![
            board.title.clone(),
            panel.title.clone(),
            mine.len().to_string(),
            series.to_string(),
            sample,
            panel.unit.clone(),
        ]
    };
    board.panels.iter().filter(|panel| !panel.queries.is_empty()).map(of).collect()
}

/// Each exemplar's trace was exported.
async fn exemplars(prometheus: &Prometheus, env: &LiveEnv, board: &Dashboard) -> Vec<String> {
    let variables = board.select_all(prometheus).await.unwrap();
    let mut missing = Vec::new();
    for panel in &board.panels {
        for query in panel.queries.iter().filter(|query| query.exemplar) {
            let found = prometheus.query_exemplars(&query.resolve(RATE_INTERVAL, &variables)).await.unwrap();
            let lost = found.iter().filter(|exemplar| env.otlp.trace(&exemplar.trace_id).is_empty()).count();
            if found.is_empty() || lost > 0 {
                missing.push(format!(
                    "{}, {}: {lost} of {} exemplars have no trace",
                    board.file,
                    panel.title,
                    found.len()
                ));
            }
        }
    }
    missing
}

/// The picture has every panel's data too. It is kept, for who wants to look.
async fn draw(prometheus: &Prometheus, board: &Dashboard, start: Timestamp) {
    let window = TimeRange { start, end: Timestamp::now(), step: Duration::from_secs(1) };
    let drawn = picture::dashboard(prometheus, board, window).await.unwrap();
    keep(&board.file.replace(".json", ".svg"), &drawn);
    assert!(!drawn.contains("no data") && !drawn.contains("NaN"), "{}: {drawn}", board.file);
    let missing: Vec<&str> = board
        .panels
        .iter()
        .map(|panel| panel.title.as_str())
        .filter(|title| !drawn.contains(title))
        .collect();
    assert!(missing.is_empty() || missing == ["From an Event to its trace"], "{}: {missing:?}", board.file);
}

/// In `target/tmp`.
fn keep(file: &str, text: &str) {
    std::fs::write(format!("{}/{file}", env!("CARGO_TARGET_TMPDIR")), text).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_panel_has_data_and_every_exemplar_a_trace() {
    let env = LiveEnv::new("dashboards").await;
    let prometheus = Prometheus::start(&[format!("127.0.0.1:{}", env.operator.metrics_port())]).await;
    let webhook = Webhook::start(env.client.clone(), &env.namespace).await;
    scraped(&prometheus).await;
    let start = Timestamp::now();
    begin_build(&env, "endless").await;
    for number in 1..=2 {
        round(&env, &webhook, number).await;
        scraped(&prometheus).await;
    }
    let boards = dashboard::all().unwrap();
    assert!(boards.len() >= 4, "{boards:?}");
    let mut all = Vec::new();
    let (mut panels, mut queries) = (0, 0);
    for board in &boards {
        let seen = eventually(&format!("every panel of {} has data", board.file), TIMEOUT, async || {
            let seen = ask(
                &prometheus,
                board,
                TimeRange { start, end: Timestamp::now(), step: Duration::from_secs(1) },
            )
            .await;
            let empty = seen.iter().filter(|seen| seen.sample().is_none());
            let empty: Vec<String> = empty
                .map(|seen| {
                    format!("{}: {} → {:?}", seen.panel.title, seen.query.expr, seen.answer.as_ref().err())
                })
                .collect();
            if empty.is_empty() { Ok(seen) } else { Err(empty.join("\n")) }
        })
        .await;
        eventually("every exemplar has a trace", TIMEOUT, async || {
            let missing = exemplars(&prometheus, &env, board).await;
            if missing.is_empty() { Ok(()) } else { Err(missing.join("\n")) }
        })
        .await;
        draw(&prometheus, board, start).await;
        let rows = rows(board, &seen);
        panels += rows.len();
        queries += seen.len();
        all.extend(rows);
    }
    let trace = env
        .services()
        .get("unavailable-2")
        .await
        .unwrap()
        .status
        .unwrap()
        .rollout
        .unwrap()
        .trace_id
        .expect("sampled");
    keep("rollout.svg", &picture::trace("The rollout of unavailable-2", &env.otlp.trace(&trace)));
    let title = format!("{} dashboards, {panels} panels, {queries} queries: all have data", boards.len());
    table(&title, &["dashboard", "panel", "queries", "series", "last value", "unit"], &all);
}
