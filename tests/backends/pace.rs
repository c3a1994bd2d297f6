//! Reconciles beside a collector that refuses, answers late or not at all are as quick as beside a healthy one, in the same run.

use std::time::{Duration, Instant};

use elpio_cluster::{OtlpReceiver, eventually, otlp::Fault};
use elpio_operator::telemetry::{Builder, Place, Report, Reported, RolloutSeed, RunStep, Telemetry, step};
use futures::future::join_all;
use tracing::{Dispatch, Instrument as _, instrument::WithSubscriber};

use crate::{
    report::table,
    rig::{Lines, identity, info, log, settings, wrote},
    stage::SOON,
};

/// Reconciles of each in a round: so many at once, so many times.
const TOGETHER: i64 = 8;
const TURNS: i64 = 120;
/// At most: a machine with other work to do needs some until one is fair.
const ROUNDS: usize = 12;
const HTTP: &str = "http/protobuf";

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
            for next in RunStep::ALL {
                tokio::time::sleep(Duration::from_millis(1)).instrument(step(next)).await;
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
    let (healthy, mut other) = (OtlpReceiver::start().await, OtlpReceiver::start().await);
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let mut rows = Vec::new();
    // gRPC's RESOURCE_EXHAUSTED and UNAVAILABLE, which the receiver says as 429 and 503 over HTTP.
    let collectors = [
        ("refused", None),
        ("429", Some(Fault::Status(8.into(), "too much".to_owned()))),
        ("503", Some(Fault::Status(14.into(), "not now".to_owned()))),
        ("slow, 2 s", Some(Fault::Slow(Duration::from_secs(2)))),
        ("silent", None),
    ];
    for (name, answer) in collectors {
        match answer {
            Some(answer) => {
                other.restart().await;
                other.answer(answer);
            }
            None => other.stop(),
        }
        let (well, ill) = match name {
            "silent" => (Pushing::new(&healthy.endpoint(), "grpc"), Pushing::new(&silent, "grpc")),
            "429" | "503" => (Pushing::new(&healthy.http_endpoint(), HTTP), Pushing::new(&other.http_endpoint(), HTTP)),
            _ => (Pushing::new(&healthy.endpoint(), "grpc"), Pushing::new(&other.endpoint(), "grpc")),
        };
        // What the machine does meets both, but not in equal parts: a cost of the fault itself would be there each time.
        let mut measured = Vec::new();
        for _ in 0..ROUNDS {
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
        assert!(start.elapsed() < Duration::from_secs(10), "{name}: the end took {:?}", start.elapsed());
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
