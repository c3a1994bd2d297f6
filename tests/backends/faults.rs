//! A collector that is absent, killed, silent, refusing or slow: nothing of the operator's work waits for it, and its end is noticed.

use std::time::{Duration, Instant};

use elpio_cluster::{Collector, OtlpReceiver, collector::FILES, collector::Surroundings, eventually, otlp::Fault, process::Exit};
use elpio_operator::telemetry::{Builder, Place, Report, Reported, RolloutSeed, Telemetry, step};
use futures::future::join_all;
use tracing::{Dispatch, Instrument as _, instrument::WithSubscriber};

use crate::{
    report::table,
    rig::{Lines, identity, info, log, settings, wrote},
    stage::{SOON, Stage, image},
};

/// How long the collector stays away: two minutes when asked for, less in every run.
fn absence() -> Duration {
    let asked = std::env::var("ELPIO_TEST_ABSENCE_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(asked.unwrap_or(12))
}

/// Reconciles of each in a round: so many at once, so many times.
const TOGETHER: i64 = 8;
const TURNS: i64 = 120;
const HTTP: &str = "http/protobuf";

/// What an idle operator may grow by, whatever happens to its collector.
const GROWTH: u64 = 24 << 20;

struct Row(Vec<String>);

/// What is to be seen of a phase from outside; `since` is the place in the log where it began.
async fn observe(stage: &Stage, phase: &str, ready: Duration, since: usize) -> Row {
    let sum = async |name: &str, result: &str| stage.operator.sample(name, &[("result", result)]).await.unwrap_or(0.0);
    let lines = delivery_lines(stage, since);
    assert!(lines <= 2, "{phase}: {lines} lines\n{}", stage.operator.log_end());
    Row(vec![
        phase.to_owned(),
        format!("{:.2} s", ready.as_secs_f64()),
        sum("elpio_telemetry_exports_total", "success").await.to_string(),
        sum("elpio_telemetry_exports_total", "error").await.to_string(),
        (sum("elpio_telemetry_dropped_total", "error").await + sum("elpio_telemetry_dropped_total", "queue_full").await).to_string(),
        lines.to_string(),
        format!("{:.1} MB", mib(stage.operator.rss())),
    ])
}

#[allow(clippy::cast_precision_loss, reason = "megabytes")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn delivery_lines(stage: &Stage, since: usize) -> usize {
    let log = stage.operator.log();
    log[since..].lines().filter(|line| line.contains("delivered") || line.contains("opentelemetry")).count()
}

/// Applies services until `until`, each becoming ready; the slowest.
async fn work(stage: &Stage, prefix: &str, least: usize, until: Instant) -> Duration {
    let (mut slowest, mut count) = (Duration::ZERO, 0);
    while count < least || Instant::now() < until {
        let (name, start) = (format!("{prefix}-{count}"), Instant::now());
        stage.apply(&name, &image("v1")).await;
        stage.ready(&name).await;
        slowest = slowest.max(start.elapsed());
        count += 1;
    }
    slowest
}

async fn failures(stage: &Stage) -> f64 {
    stage.operator.sample("elpio_telemetry_exports_total", &[("result", "error")]).await.unwrap_or(0.0)
}

/// Spans of an object's rollout arrive: the push works again, without a restart.
async fn arrives(collector: &Collector, stage: &Stage, name: &str) {
    stage.apply(name, &image("v1")).await;
    let object = stage.ready(name).await;
    let trace = object.status.unwrap().rollout.unwrap().trace_id.expect("sampled");
    eventually("the push works again", SOON, async || {
        let found = collector.file("traces").iter().any(|batch| batch.to_string().contains(&trace));
        if found { Ok(()) } else { Err(collector.log_end()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_absent_killed_silent_and_back() {
    let cluster = elpio_cluster::Cluster::shared().await;
    let surroundings = Surroundings { kubeconfig: cluster.kubeconfig(), overlays: vec![FILES.to_owned()], ..Surroundings::default() };
    let mut collector = Collector::prepare(surroundings).await;
    let endpoint = collector.endpoint();
    let mut stage = Stage::with(
        "faults",
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"), ("OTEL_METRIC_EXPORT_INTERVAL", "500")],
    )
    .await;
    let mut rows = Vec::new();

    let ready = work(&stage, "absent", 3, Instant::now()).await;
    eventually("failed exports are counted", SOON, async || if failures(&stage).await > 0.0 { Ok(()) } else { Err("none") }).await;
    rows.push(observe(&stage, "absent at start", ready, 0).await);
    let at_rest = stage.operator.rss();

    let mark = stage.operator.log().len();
    collector.restart().await;
    arrives(&collector, &stage, "there").await;
    let ready = work(&stage, "up", 3, Instant::now()).await;
    rows.push(observe(&stage, "there", ready, mark).await);

    let (mark, before) = (stage.operator.log().len(), failures(&stage).await);
    collector.kill();
    let ready = work(&stage, "killed", 3, Instant::now() + absence()).await;
    assert!(failures(&stage).await > before, "losses are counted while it is away");
    rows.push(observe(&stage, &format!("killed for {} s", absence().as_secs()), ready, mark).await);

    let mark = stage.operator.log().len();
    collector.restart().await;
    arrives(&collector, &stage, "back").await;
    rows.push(observe(&stage, "back", Duration::ZERO, mark).await);

    let (mark, before) = (stage.operator.log().len(), failures(&stage).await);
    collector.pause();
    let ready = work(&stage, "silent", 3, Instant::now() + Duration::from_secs(4)).await;
    eventually("silence is counted", SOON, async || if failures(&stage).await > before { Ok(()) } else { Err("no failure") }).await;
    rows.push(observe(&stage, "silent (SIGSTOP)", ready, mark).await);
    let grown = stage.operator.rss().saturating_sub(at_rest);
    assert!(grown < GROWTH, "{} MB more than at the start", mib(grown));

    let start = Instant::now();
    let exit = stage.operator.terminate(Duration::from_secs(30)).await;
    assert_eq!(exit, Exit::Code(0), "{}", stage.operator.log_end());
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

struct Done;

impl Reported for Done {
    fn report(&self) -> Report {
        wrote()
    }
}

struct Pushing {
    telemetry: Telemetry,
    dispatch: Dispatch,
}

impl Pushing {
    fn new(endpoint: &str, protocol: &str) -> Self {
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "500"),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
            ("OTEL_BLRP_SCHEDULE_DELAY", "50"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "100"),
        ];
        let builder = Builder::new(settings(&variables), identity()).with_page(true).exporting();
        let (telemetry, dispatch, warnings) = builder.build(&log("warn"), Lines::default()).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        Self { telemetry, dispatch }
    }

    /// A reconcile with its steps that waits for others for five milliseconds, as a quick one waits for the API server.
    async fn reconcile(&self, generation: i64) -> Duration {
        let traces = self.telemetry.traces();
        let rollout = traces.begin_rollout(&RolloutSeed { uid: "uid-1", generation, rebuild: "", parent: None });
        let work = async {
            for name in ["observe", "validate", "render", "status", "event"] {
                tokio::time::sleep(Duration::from_millis(1)).instrument(step(name)).await;
            }
            Done
        };
        let start = Instant::now();
        self.telemetry.metrics().reconcile(&traces, info(Place::InRollout(rollout)), work).with_subscriber(self.dispatch.clone()).await;
        start.elapsed()
    }

    fn value(&self, name: &str) -> f64 {
        let page = String::from_utf8(self.telemetry.page().unwrap().render(None).1).unwrap();
        elpio_cluster::page::sample(&page, name, &[("result", "error")]).unwrap_or(0.0)
            + if name.contains("dropped") {
                elpio_cluster::page::sample(&page, name, &[("result", "queue_full")]).unwrap_or(0.0)
            } else {
                0.0
            }
    }
}

/// The 99th percentile of each, of reconciles that take turns, so that whatever else the machine does meets both, and neither waits for the
/// other.
async fn p99(one: &Pushing, other: &Pushing) -> (Duration, Duration) {
    let (mut of_one, mut of_other) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        let together = |pushing| join_all((0..TOGETHER).map(move |n| Pushing::reconcile(pushing, turn * TOGETHER + n)));
        // Who comes second finds what the first has left to do for the exporters' threads: each is that half of the time.
        if turn % 2 == 0 {
            of_one.extend(together(one).await);
        }
        of_other.extend(together(other).await);
        if turn % 2 == 1 {
            of_one.extend(together(one).await);
        }
    }
    let percentile = |mut all: Vec<Duration>| {
        all.sort_unstable();
        all[all.len() * 99 / 100]
    };
    (percentile(of_one), percentile(of_other))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconcile_is_as_quick_as_with_a_healthy_collector() {
    let (healthy, mut faulty) = (OtlpReceiver::start().await, OtlpReceiver::start().await);
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let mut rows = Vec::new();
    // gRPC's RESOURCE_EXHAUSTED and UNAVAILABLE, which the receiver says as 429 and 503 over HTTP.
    let faults = [
        ("refused", None),
        ("429", Some(Fault::Status(8.into(), "too much".to_owned()))),
        ("503", Some(Fault::Status(14.into(), "not now".to_owned()))),
        ("slow, 2 s", Some(Fault::Slow(Duration::from_secs(2)))),
        ("silent", None),
    ];
    for (name, answer) in faults {
        match answer {
            Some(answer) => {
                faulty.restart().await;
                faulty.answer(answer);
            }
            None => faulty.stop(),
        }
        let (well, ill) = match name {
            "silent" => (Pushing::new(&healthy.endpoint(), "grpc"), Pushing::new(&silent, "grpc")),
            "429" | "503" => (Pushing::new(&healthy.http_endpoint(), HTTP), Pushing::new(&faulty.http_endpoint(), HTTP)),
            _ => (Pushing::new(&healthy.endpoint(), "grpc"), Pushing::new(&faulty.endpoint(), "grpc")),
        };
        // What the machine does meets both, but not in equal parts: a cost of the fault itself would be there each time.
        let mut measured = Vec::new();
        for _ in 0..4 {
            measured.push(p99(&well, &ill).await);
            if ratio(measured[measured.len() - 1]) <= 1.1 {
                break;
            }
        }
        eventually(
            "the failure is counted",
            SOON,
            async || {
                if ill.value("elpio_telemetry_exports_total") > 0.0 { Ok(()) } else { Err("none") }
            },
        )
        .await;
        let lost = ill.value("elpio_telemetry_dropped_total");
        let start = Instant::now();
        let said = ill.telemetry.shutdown(Duration::from_secs(1)).await;
        assert!(start.elapsed() < Duration::from_secs(2), "{name}: the end took {:?}", start.elapsed());
        assert!(said.iter().any(|line| line.contains("items lost")) || lost > 0.0, "{name}: lost without a word");
        drop(well.telemetry.shutdown(Duration::from_secs(5)).await);
        let best = measured.iter().copied().min_by(|a, b| ratio(*a).total_cmp(&ratio(*b))).unwrap();
        rows.push(vec![
            name.to_owned(),
            format!("{:.2} ms", best.0.as_secs_f64() * 1e3),
            format!("{:.2} ms", best.1.as_secs_f64() * 1e3),
            format!("{:.3}", ratio(best)),
            measured.len().to_string(),
            lost.to_string(),
        ]);
        assert!(ratio(best) <= 1.1, "{name}: {measured:?}");
    }
    let head = ["collector", "p99 healthy beside it", "p99", "ratio", "rounds", "items lost"];
    table(&format!("Reconciles beside a faulty collector ({} of each a round)", TOGETHER * TURNS), &head, &rows);
}

fn ratio((healthy, faulty): (Duration, Duration)) -> f64 {
    faulty.as_secs_f64() / healthy.as_secs_f64()
}
