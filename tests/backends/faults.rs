//! A collector that is absent, killed or silent, and back: the operator works on, loses no more than it
//! counts, and says little.

use std::time::{Duration, Instant};

use elpio_cluster::{
    Collector, OtlpReceiver,
    collector::{CollectorTargets, FILE_EXPORTERS},
    eventually,
    otlp::ReceiverFault,
    process::Exit,
};

use crate::{
    live_env::{LiveEnv, TIMEOUT, image},
    report::table,
};

/// How long the collector stays away: more than it takes for anything to overflow, or to be said twice.
fn absence() -> Duration {
    let asked = std::env::var("ELPIO_TEST_ABSENCE_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(asked.unwrap_or(120))
}

/// The pace of edits while it is away; the other tests need the machine too.
const EDITS: Duration = Duration::from_secs(1);

/// Services of a phase.
const MOST: usize = 10;

/// What an idle operator may grow by, whatever happens to its collector.
const GROWTH: u64 = 24 << 20;

struct Row(Vec<String>);

/// What is to be seen of a phase from outside; `since` is the place in the log and the time where it began.
async fn observe(env: &LiveEnv, phase: &str, ready: Duration, since: (usize, Instant)) -> Row {
    let sum = async |name: &str, result: &str| {
        env.operator.sample(name, &[("result", result)]).await.unwrap_or(0.0)
    };
    let lines = delivery_lines(env, since.0);
    // One that it fails, one a minute, and one that it works again.
    let most = 2 + since.1.elapsed().as_secs().div_ceil(60);
    assert!(lines as u64 <= most, "{phase}: {lines} lines\n{}", env.operator.log_tail());
    Row(vec![
        phase.to_owned(),
        format!("{:.2} s", ready.as_secs_f64()),
        sum("elpio_telemetry_exports_total", "success").await.to_string(),
        sum("elpio_telemetry_exports_total", "error").await.to_string(),
        lost(env).await.to_string(),
        lines.to_string(),
        format!("{:.1} MB", mib(env.operator.rss())),
    ])
}

#[allow(clippy::cast_precision_loss, reason = "megabytes")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn delivery_lines(env: &LiveEnv, since: usize) -> usize {
    let log = env.operator.log();
    let marks = ["failed to export ", "exporting ", "opentelemetry"];
    log[since..].lines().filter(|line| marks.iter().any(|mark| line.contains(mark))).count()
}

/// Makes services, then edits them in turn, until `until`, each becoming ready; the slowest.
async fn work(env: &LiveEnv, prefix: &str, least: usize, until: Instant) -> Duration {
    let (mut slowest, mut count) = (Duration::ZERO, 0);
    let mut pace = tokio::time::interval(EDITS);
    while count < least || Instant::now() < until {
        if count >= least {
            pace.tick().await;
        }
        // No more of them the longer it takes: the operator's memory is looked at.
        let (name, start) = (format!("{prefix}-{}", count % MOST), Instant::now());
        env.apply(&name, &image(&format!("v{count}"))).await;
        env.ready(&name).await;
        slowest = slowest.max(start.elapsed());
        count += 1;
    }
    slowest
}

/// Spans, records and metrics that were lost, as the page counts them.
async fn lost(env: &LiveEnv) -> f64 {
    let mut sum = 0.0;
    for why in ["error", "queue_full"] {
        sum += env.operator.sample("elpio_telemetry_dropped_total", &[("result", why)]).await.unwrap_or(0.0);
    }
    sum
}

/// The start of a phase.
fn mark(env: &LiveEnv) -> (usize, Instant) {
    (env.operator.log().len(), Instant::now())
}

async fn failures(env: &LiveEnv) -> f64 {
    env.operator.sample("elpio_telemetry_exports_total", &[("result", "error")]).await.unwrap_or(0.0)
}

fn grown_little(env: &LiveEnv, at_rest: u64) {
    let grown = env.operator.rss().saturating_sub(at_rest);
    assert!(grown < GROWTH, "{} MB more than at the start", mib(grown));
}

/// Spans of an object's rollout arrive: the push works again, without a restart.
async fn arrives(collector: &Collector, env: &LiveEnv, name: &str) {
    env.apply(name, &image("v1")).await;
    let object = env.ready(name).await;
    let trace = object.status.unwrap().rollout.unwrap().trace_id.expect("sampled");
    eventually("the push works again", TIMEOUT, async || {
        let found = collector.file("traces").iter().any(|batch| batch.to_string().contains(&trace));
        if found { Ok(()) } else { Err(collector.log_tail()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_absent_killed_silent_and_back() {
    let cluster = elpio_cluster::Cluster::shared().await;
    let targets = CollectorTargets {
        kubeconfig: cluster.kubeconfig(),
        overlays: vec![FILE_EXPORTERS.to_owned()],
        ..CollectorTargets::default()
    };
    let mut collector = Collector::prepare(targets).await;
    let endpoint = collector.endpoint();
    let mut env = LiveEnv::with(
        "faults",
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "500"),
        ],
    )
    .await;
    let (mut rows, start) = (Vec::new(), (0, Instant::now()));

    let ready = work(&env, "absent", 3, Instant::now()).await;
    eventually("failed exports are counted", TIMEOUT, async || {
        if failures(&env).await > 0.0 { Ok(()) } else { Err("none") }
    })
    .await;
    rows.push(observe(&env, "absent at start", ready, start).await);
    let at_rest = env.operator.rss();

    let begun = mark(&env);
    collector.restart().await;
    arrives(&collector, &env, "there").await;
    let ready = work(&env, "up", 3, Instant::now()).await;
    rows.push(observe(&env, "there", ready, begun).await);

    let (begun, failed, removed) = (mark(&env), failures(&env).await, lost(&env).await);
    collector.kill();
    let ready = work(&env, "killed", 3, Instant::now() + absence()).await;
    assert!(
        failures(&env).await > failed && lost(&env).await > removed,
        "losses are counted while it is away"
    );
    rows.push(observe(&env, &format!("killed for {} s", absence().as_secs()), ready, begun).await);
    grown_little(&env, at_rest);

    let begun = mark(&env);
    collector.restart().await;
    arrives(&collector, &env, "back").await;
    rows.push(observe(&env, "back", Duration::ZERO, begun).await);

    let (begun, before) = (mark(&env), failures(&env).await);
    collector.pause();
    let ready = work(&env, "silent", 3, Instant::now() + Duration::from_secs(4)).await;
    eventually("silence is counted", TIMEOUT, async || {
        if failures(&env).await > before { Ok(()) } else { Err("no failure") }
    })
    .await;
    rows.push(observe(&env, "silent (SIGSTOP)", ready, begun).await);
    grown_little(&env, at_rest);

    let start = Instant::now();
    let exit = env.operator.terminate(Duration::from_secs(30)).await;
    assert_eq!(exit, Exit::Code(0), "{}", env.operator.log_tail());
    assert!(start.elapsed() < Duration::from_secs(15), "the end took {:?}", start.elapsed());
    let nothing = String::new;
    rows.push(Row(vec![
        format!("ended while silent: in {:.1?}", start.elapsed()),
        nothing(),
        nothing(),
        nothing(),
        nothing(),
        nothing(),
        nothing(),
    ]));
    let rows: Vec<Vec<String>> = rows.into_iter().map(|row| row.0).collect();
    let head = ["collector", "slowest to ready", "exports", "failed", "items lost", "log lines", "memory"];
    table("Faults of the collector, as the operator's page, log and memory show them", &head, &rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_answers_429_or_503_or_is_slow_and_recovers() {
    let receiver = OtlpReceiver::start().await;
    let env = LiveEnv::with(
        "refusals",
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.http_endpoint()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "500"),
        ],
    )
    .await;
    let (mut rows, start) = (Vec::new(), (0, Instant::now()));
    let ready = work(&env, "well", 3, Instant::now()).await;
    rows.push(observe(&env, "well", ready, start).await.0);
    for (phase, answer) in [
        // gRPC's RESOURCE_EXHAUSTED and UNAVAILABLE, which the receiver says as these over HTTP.
        ("429", ReceiverFault::Status(8.into(), "too much".to_owned())),
        ("503", ReceiverFault::Status(14.into(), "not now".to_owned())),
        ("slow", ReceiverFault::Slow(Duration::from_secs(3))),
    ] {
        let (begun, before) = (mark(&env), failures(&env).await);
        receiver.set_fault(answer);
        let ready = work(&env, &format!("during-{phase}"), 3, Instant::now()).await;
        eventually(&format!("{phase} is counted"), TIMEOUT, async || {
            if failures(&env).await > before { Ok(()) } else { Err("no failure") }
        })
        .await;
        rows.push(observe(&env, phase, ready, begun).await.0);
        receiver.set_fault(ReceiverFault::None);
        let name = format!("after-{phase}");
        env.apply(&name, &image("v1")).await;
        let trace = env.ready(&name).await.status.unwrap().rollout.unwrap().trace_id.expect("sampled");
        receiver.wait_for_span("the push works again", TIMEOUT, |span| span.trace_id == trace).await;
    }
    let head = ["collector", "slowest to ready", "exports", "failed", "items lost", "log lines", "memory"];
    table("A collector that refuses or is slow", &head, &rows);
}
