//! Reconciles beside a collector that refuses, answers late or not at all are as quick as beside a healthy
//! one, in the same run.
//!
//! Only ratios are judged, of many short comparisons: one of them says nothing, since what the machine does
//! meets both, but not in equal parts.

use std::time::{Duration, Instant};

use elpio_cluster::{
    OtlpReceiver,
    comparison::{Comparison, PairedSamples, compare},
    eventually,
    otlp::ReceiverFault,
};
use elpio_operator::telemetry::{ReconcileStep, RolloutSeed, SpanParent, Telemetry, TelemetryBuilder, step};
use futures::future::join_all;
use tracing::{Dispatch, Instrument as _, instrument::WithSubscriber};

use crate::{
    harness::{Lines, config, identity, info, log, wrote},
    live_env::TIMEOUT,
    report::table,
};

/// Reconciles of each in a round: so many at once, so many times.
const TOGETHER: i64 = 8;
const TURNS: i64 = 13;
/// Rounds of a comparison, however they turn out.
const ROUNDS: usize = 12;
/// What is asked for.
const MOST: f64 = 1.1;
/// What the self-check has to find, as a part of what a reconcile takes.
const INJECTED: f64 = 0.3;
const HTTP: &str = "http/protobuf";

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
        let builder = TelemetryBuilder::new(config(&variables), identity())
            .with_metrics_endpoint(true)
            .with_configured_exporters();
        let (telemetry, dispatch, warnings) = builder.build(&log("warn"), Lines::default()).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        Self { telemetry, dispatch }
    }

    /// A reconcile with its steps that waits for others for five milliseconds, as a quick one waits for the
    /// API server, and then for that part more, in whole milliseconds as the clock of a sleep has them.
    async fn reconcile(&self, generation: i64, more: f64) -> Duration {
        let traces = self.telemetry.traces();
        let rollout = traces.begin_rollout(&RolloutSeed {
            uid: "uid-1",
            generation,
            rebuild: "",
            parent: None,
            tracestate: None,
        });
        let work = async {
            let begun = Instant::now();
            for next in ReconcileStep::ALL {
                tokio::time::sleep(Duration::from_millis(1)).instrument(step(next)).await;
            }
            if more > 0.0 {
                let late = begun.elapsed().mul_f64(more).as_millis();
                tokio::time::sleep(Duration::from_millis(u64::try_from(late).unwrap())).await;
            }
            wrote()
        };
        let start = Instant::now();
        self.telemetry
            .metrics()
            .reconcile(&traces, info(SpanParent::InRollout(rollout)), work)
            .with_subscriber(self.dispatch.clone())
            .await
            .expect("no panic");
        start.elapsed()
    }

    fn value(&self, name: &str) -> f64 {
        let page = String::from_utf8(self.telemetry.metrics_endpoint().unwrap().render(None).1).unwrap();
        elpio_cluster::exposition::sample(&page, name, &[("result", "error")]).unwrap_or(0.0)
            + if name.contains("dropped") {
                elpio_cluster::exposition::sample(&page, name, &[("result", "queue_full")]).unwrap_or(0.0)
            } else {
                0.0
            }
    }
}

/// So many rounds of reconciles that take turns, so that whatever else the machine does meets both, and
/// neither waits for the other.
async fn rounds(well: &Pushing, ill: &Pushing, more: f64) -> Vec<PairedSamples> {
    let mut all = Vec::new();
    for round in 0..ROUNDS {
        let mut pair = PairedSamples::default();
        for alternation in 0..TURNS {
            // Who comes second finds what the first has left to do for the exporters' threads: each is that
            // half of the time.
            for is_ill in [alternation % 2 == 0, alternation % 2 == 1] {
                let (pushing, more, to) =
                    if is_ill { (ill, more, &mut pair.faulty) } else { (well, 0.0, &mut pair.healthy) };
                let number = (i64::try_from(round).unwrap() * TURNS + alternation) * TOGETHER;
                let took = join_all((number..number + TOGETHER).map(|n| pushing.reconcile(n, more))).await;
                to.extend(took.iter().map(Duration::as_secs_f64));
            }
        }
        all.push(pair);
    }
    all
}

/// The tail is what a fault would show in; the middle is what little noise hides.
struct Judged {
    middle: Comparison,
    tail: Comparison,
}

impl Judged {
    /// Of so many rounds; when these say that it is slower, of as many others, and again: one tail of many
    /// looks slower by chance.
    async fn of(well: &Pushing, ill: &Pushing, more: f64) -> Self {
        let mut judged = Self::once(&rounds(well, ill, more).await);
        for _ in 0..2 {
            if !judged.slower() {
                break;
            }
            judged = Self::once(&rounds(well, ill, more).await);
        }
        judged
    }

    fn once(pairs: &[PairedSamples]) -> Self {
        Self { middle: compare(pairs, 50), tail: compare(pairs, 99) }
    }

    fn slower(&self) -> bool {
        self.middle.exceeds(MOST) || self.tail.exceeds(MOST)
    }

    fn row(&self, name: &str, lost: &str) -> Vec<String> {
        let of = |it: &Comparison| {
            let (low, high) = it.interval;
            format!(
                "{:.2} ms, {:.2} ms: {:.3} ({low:.3} … {high:.3})",
                it.healthy * 1e3,
                it.faulty * 1e3,
                it.ratio
            )
        };
        let judgement = if self.slower() { "SLOWER" } else { "not slower" };
        [name, &of(&self.middle), &of(&self.tail), lost, judgement].map(str::to_owned).to_vec()
    }
}

fn print(title: &str, rows: &[Vec<String>]) {
    let head = ["collector", "p50 healthy, beside it: ratio (98 % between)", "p99", "items lost", "verdict"];
    table(&format!("{title} ({ROUNDS} rounds of {} each)", TOGETHER * TURNS), &head, rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_judge_sees_a_delay_and_nothing_where_there_is_none() {
    let (one, other) = (OtlpReceiver::start().await, OtlpReceiver::start().await);
    let (well, ill) = (Pushing::new(&one.endpoint(), "grpc"), Pushing::new(&other.endpoint(), "grpc"));
    let (same, delayed) = (Judged::of(&well, &ill, 0.0).await, Judged::of(&well, &ill, INJECTED).await);
    for pushing in [well, ill] {
        drop(pushing.telemetry.shutdown(Duration::from_secs(5)).await);
    }
    print(
        "The judge of the pace",
        &[same.row("both healthy", "-"), delayed.row("30 % more to wait for", "-")],
    );
    assert!(delayed.slower(), "a delay of 30 % is not seen");
    assert!(!same.slower(), "a delay is seen where there is none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconcile_is_as_quick_as_with_a_healthy_collector() {
    let (healthy, mut other) = (OtlpReceiver::start().await, OtlpReceiver::start().await);
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let (mut rows, mut slower) = (Vec::new(), Vec::new());
    // gRPC's RESOURCE_EXHAUSTED and UNAVAILABLE, which the receiver says as 429 and 503 over HTTP.
    let collectors = [
        ("refused", None),
        ("429", Some(ReceiverFault::Status(8.into(), "too much".to_owned()))),
        ("503", Some(ReceiverFault::Status(14.into(), "not now".to_owned()))),
        ("slow, 2 s", Some(ReceiverFault::Slow(Duration::from_secs(2)))),
        ("silent", None),
    ];
    for (name, answer) in collectors {
        match answer {
            Some(answer) => {
                other.restart().await;
                other.set_fault(answer);
            }
            None => other.stop(),
        }
        let (well, ill) = match name {
            "silent" => (Pushing::new(&healthy.endpoint(), "grpc"), Pushing::new(&silent, "grpc")),
            "429" | "503" => {
                (Pushing::new(&healthy.http_endpoint(), HTTP), Pushing::new(&other.http_endpoint(), HTTP))
            }
            _ => (Pushing::new(&healthy.endpoint(), "grpc"), Pushing::new(&other.endpoint(), "grpc")),
        };
        let judged = Judged::of(&well, &ill, 0.0).await;
        let lost = fails(name, ill).await;
        drop(well.telemetry.shutdown(Duration::from_secs(5)).await);
        rows.push(judged.row(name, &lost.to_string()));
        slower.extend(judged.slower().then_some(name));
    }
    print("Reconciles beside a faulty collector", &rows);
    assert!(slower.is_empty(), "slower than beside a healthy collector: {slower:?}");
}

/// Its exports do fail, it ends in time, and what it lost is said; how much that was by then.
async fn fails(name: &str, ill: Pushing) -> f64 {
    eventually("the failure is counted", TIMEOUT, async || {
        if ill.value("elpio_telemetry_exports_total") > 0.0 { Ok(()) } else { Err("none") }
    })
    .await;
    let lost = ill.value("elpio_telemetry_dropped_total");
    let start = Instant::now();
    let reported = ill.telemetry.shutdown(Duration::from_secs(1)).await;
    assert!(start.elapsed() < Duration::from_secs(10), "{name}: the end took {:?}", start.elapsed());
    assert!(
        reported.iter().any(|line| line.contains("items lost")) || lost > 0.0,
        "{name}: lost without a word"
    );
    lost
}
