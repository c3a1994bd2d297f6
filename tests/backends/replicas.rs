//! Two replicas over a lost lead and a killed leader: no sum over both ever exceeds the truth, and every total is
//! what the objects and the audit log have; scraped, and pushed through the collector.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use elpio_cluster::{Cluster, Operator, TimeRange, eventually};
use elpio_operator::api::ElpioService;
use kube::api::ListParams;
use serde_json::json;

use crate::{
    backends::{Backends, target},
    live_env::{LiveEnv, TIMEOUT, binary, find, image, wait_until_leading, with},
    permissions::User,
    report::table,
};

const SERVICES: usize = 5;
/// A claim that is not renewed ends after so long, and what a busy machine adds.
const TAKE_OVER: Duration = Duration::from_mins(2);

/// Sums over both replicas.
const STATES: [(&str, &str); 4] = [
    ("services ready", "sum(elpio_services_ready{@})"),
    ("objects", "sum(elpio_resources{@})"),
    ("objects that are ready", "sum(elpio_resources{@,ready=\"true\"})"),
    ("leaders", "sum(leader_election_master_status{@})"),
];
/// The same as in the panels.
const AS_IN_PANELS: [(&str, &str); 3] = [
    ("services ready", "sum(max by (cluster, namespace, job) (elpio_services_ready{@}))"),
    ("objects", "sum(max by (cluster, namespace, job, kind, ready, reason) (elpio_resources{@}))"),
    (
        "objects that are ready",
        "sum(max by (cluster, namespace, job, kind, ready, reason) (elpio_resources{@,ready=\"true\"}))",
    ),
];
/// What a process counted stays true when it ends.
const TOTALS: [(&str, &str); 4] = [
    ("rollouts", "sum(max_over_time(elpio_rollouts_total{@,outcome=\"ready\"}[10m]))"),
    ("children written", "sum(max_over_time(elpio_apply_total{@,outcome=\"changed\"}[10m]))"),
    ("Events created", "sum(max_over_time(elpio_events_total{@,outcome=\"created\"}[10m]))"),
    (
        "calls that write",
        "sum(max_over_time(http_client_request_duration_seconds_count{@,http_request_method!=\"GET\",url_template=~\".*/namespaces/.*\",url_template!~\".*/leases.*\"}[10m]))",
    ),
];
const RECONCILES: &str = "sum(max_over_time(elpio_reconcile_total{@}[10m]))";

/// The selectors of the two outputs.
struct Outputs([(&'static str, String); 2]);

impl Outputs {
    fn of(first: &Operator, second: &Operator) -> Self {
        let scraped = format!("job=\"elpio-operator\",instance=~\"{}|{}\"", target(first), target(second));
        let pushed = "job=\"elpio/elpio-operator\",instance=~\"replica-.\"".to_owned();
        Self([("scraped", scraped), ("pushed", pushed)])
    }
}

/// The second replica, which pushes so often that it is never late.
async fn second_replica(backends: &Backends, env: &LiveEnv) -> Operator {
    let (namespace, endpoint) = (env.namespace.as_str(), backends.collector.endpoint());
    let environment = [
        ("ELPIO_NAMESPACES", namespace),
        ("POD_NAMESPACE", namespace),
        ("ELPIO_LEADER_ELECT", "on"),
        ("ELPIO_METRICS", "on"),
        ("ELPIO_METRICS_ADDR", "127.0.0.1"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=replica-b"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "200"),
    ];
    let mut operator = Operator::spawn(binary(), &Cluster::shared().await.kubeconfig(), &environment);
    operator.wait_ready().await;
    backends.scrape(&operator).await;
    operator
}

/// An edit of each service, each to its end.
async fn edit_all(env: &LiveEnv, tag: &str) {
    for index in 0..SERVICES {
        let name = format!("web-{index}");
        let generation = env.apply(&name, &image(tag)).await.metadata.generation;
        let is_done = |object: &ElpioService| {
            let rollout = object.status.as_ref().and_then(|status| status.rollout.as_ref());
            rollout.is_some_and(|r| Some(r.generation) == generation && r.ended_at.is_some())
        };
        env.service(&name, "its rollout has ended", is_done).await;
    }
    env.wait_until_idle().await;
}

/// What the objects and the audit log have.
async fn truth(env: &LiveEnv, mark: u64) -> BTreeMap<&'static str, usize> {
    let objects = env.services().list(&ListParams::default()).await.unwrap().items;
    let ready: Vec<&ElpioService> = objects
        .iter()
        .filter(|object| find(object, "Ready").is_some_and(|condition| condition.status == "True"))
        .collect();
    let rollouts: i64 = ready.iter().filter_map(|object| object.metadata.generation).sum();
    let writes =
        env.requests_since(mark).writes().filter(|line| !line.matches_resource("leases.coordination.k8s.io"));
    let children = writes.clone().resource("services.serving.knative.dev").filter(|line| line.code < 300);
    let events =
        writes.clone().resource("events.events.k8s.io").verb("create").filter(|line| line.code < 300);
    BTreeMap::from([
        ("services ready", ready.len()),
        ("objects", objects.len()),
        ("objects that are ready", ready.len()),
        ("leaders", 1),
        ("rollouts", usize::try_from(rollouts).unwrap()),
        ("children written", children.len()),
        ("Events created", events.len()),
        ("calls that write", writes.len()),
    ])
}

/// Waits until both outputs say what is true, and returns the rows of a table.
async fn both_are_true(
    backends: &Backends,
    env: &LiveEnv,
    outputs: &Outputs,
    (mark, when): (u64, &str),
    wanted: &[(&'static str, &'static str)],
) -> Vec<Vec<String>> {
    eventually(&format!("{when}: both outputs are true"), TIMEOUT, async || {
        let (mut rows, mut wrong) = (Vec::new(), Vec::new());
        for (what, query) in wanted {
            let expected = truth(env, mark).await[what];
            let mut row = vec![when.to_owned(), (*what).to_owned(), expected.to_string()];
            for (output, selector) in &outputs.0 {
                let found = backends.prometheus.query(&query.replace('@', selector)).await?;
                let value = found.first().map_or("nothing".to_owned(), |series| series.value.to_string());
                if value != expected.to_string() {
                    wrong.push(format!("{what}, {output}: {value}, and not {expected}"));
                }
                row.push(value);
            }
            rows.push(row);
        }
        if wrong.is_empty() { Ok(rows) } else { Err(wrong.join("\n")) }
    })
    .await
}

/// No sum was ever more than the truth, second by second.
async fn never_more(
    backends: &Backends,
    states: &[(&'static str, &'static str)],
    outputs: &[(&str, String)],
    since: Instant,
    true_now: &BTreeMap<&'static str, usize>,
) {
    let range = TimeRange { step: Duration::from_secs(1), ..TimeRange::last(since.elapsed()) };
    for (what, query) in states {
        for (output, selector) in outputs {
            let all = backends.prometheus.query_range(&query.replace('@', selector), range).await.unwrap();
            let most =
                all.iter().flat_map(|series| &series.points).map(|(_, value)| *value).fold(0.0, f64::max);
            #[allow(clippy::cast_precision_loss, reason = "few")]
            let allowed = true_now[what] as f64;
            assert!(most <= allowed, "{what}, {output}: {most} of {allowed}: {all:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_changes_of_leader_no_sum_doubles_and_every_total_is_true() {
    let backends = Backends::shared().await;
    let user = User::without("elpio-test-30", "coordination.k8s.io").await;
    user.grant().await;
    let mark = Cluster::shared().await.audit_offset();
    let election = [
        ("ELPIO_LEADER_ELECT", "on"),
        ("POD_NAMESPACE", "{}"),
        // Longer than it takes to lose the lead, which begins just after a push.
        ("OTEL_METRIC_EXPORT_INTERVAL", "30000"),
    ];
    let env = backends.stage_as("replica-a", &user.kubeconfig().await, &election).await;
    wait_until_leading(&env.operator, TAKE_OVER).await;
    let mut second = second_replica(backends, &env).await;
    let outputs = Outputs::of(&env.operator, &second);
    edit_all(&env, "v1").await;
    let invalid = with(image("v1"), &json!({"port": 8012, "env": [{"name": "PORT", "value": "1"}]}));
    env.apply("mistake", &invalid).await;
    env.condition("mistake", "Reconciled", "False", "InvalidSpec").await;
    env.event("mistake", "Warning", "ReconcileFailed").await;
    let all = [&STATES[..], &TOTALS[..]].concat();
    let mut rows = both_are_true(backends, &env, &outputs, (mark, "one leads"), &all).await;

    let since = Instant::now();
    user.revoke().await;
    wait_until_leading(&second, TAKE_OVER).await;
    rows.extend(both_are_true(backends, &env, &outputs, (mark, "lead lost"), &all).await);
    never_more(backends, &STATES, &outputs.0, since, &truth(&env, mark).await).await;
    edit_all(&env, "v2").await;
    rows.extend(both_are_true(backends, &env, &outputs, (mark, "the other leads"), &all).await);
    for (output, selector) in &outputs.0 {
        // A reconcile that finds nothing to do changes no other total, and may come after the last scrape.
        eventually(&format!("reconciles, {output}"), TIMEOUT, async || {
            let pages =
                [&env.operator, &second].map(|operator| operator.sample("elpio_reconcile_total", &[]));
            let reconciles: f64 = futures::future::join_all(pages).await.into_iter().flatten().sum();
            let found = backends.prometheus.query(&RECONCILES.replace('@', selector)).await?;
            let value = found.first().map_or("nothing".to_owned(), |series| series.value.to_string());
            if value == reconciles.to_string() {
                Ok(())
            } else {
                Err(format!("{value}, and not {reconciles}"))
            }
        })
        .await;
    }

    let since = Instant::now();
    second.kill();
    user.grant().await;
    wait_until_leading(&env.operator, TAKE_OVER).await;
    // A killed process takes nothing back of what it pushed: Prometheus shows it for five minutes, and panels take
    // the largest of the replicas.
    let killed = [&AS_IN_PANELS[..], &TOTALS[..]].concat();
    rows.extend(both_are_true(backends, &env, &outputs, (mark, "leader killed"), &killed).await);
    let [scraped, _] = &outputs.0;
    never_more(backends, &STATES, std::slice::from_ref(scraped), since, &truth(&env, mark).await).await;
    never_more(backends, &AS_IN_PANELS, &outputs.0, since, &truth(&env, mark).await).await;
    edit_all(&env, "v3").await;
    rows.extend(both_are_true(backends, &env, &outputs, (mark, "the first again"), &TOTALS).await);
    table("Two replicas, summed", &["when", "what", "truth", "scraped", "pushed"], &rows);
}
