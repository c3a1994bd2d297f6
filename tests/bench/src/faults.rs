//! What a faulty collector costs: compares two operators side by side under the same load, one of which has a
//! faulty collector. It injects no other fault.
//!
//! Each operator has its own collector, which is the faulty one in half of the comparisons, so that neither
//! process nor machine makes the difference. Durations come from the operator's log: one line per reconcile
//! that changed something.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::Path,
    time::Duration,
};

use elpio_cluster::{
    Cluster, ClusterOptions, FakeEngineOptions, FakeEngines, Operator, OtlpReceiver,
    comparison::{self, Comparison, PairedSamples},
    eventually,
    otlp::ReceiverFault,
};
use futures::future::{join, join_all};
use kube::{
    api::{Api, ListParams, Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::{
    USER, crds,
    load::{bind_cluster_admin, service},
    results::table,
};

const SERVICES: usize = 40;
const EDITS: usize = 150;
/// The time between two edits.
const EDIT_INTERVAL: Duration = Duration::from_millis(30);
/// The highest acceptable ratio.
const MAX_RATIO: f64 = 1.1;
/// Long enough for a busy machine.
const TIMEOUT: Duration = Duration::from_mins(2);

#[derive(Clone, Copy, Debug, PartialEq)]
enum CollectorFault {
    None,
    Absent,
    BlackHole,
    TooMany,
    Unavailable,
    Slow,
}

impl CollectorFault {
    const ALL: [Self; 6] =
        [Self::None, Self::Absent, Self::BlackHole, Self::TooMany, Self::Unavailable, Self::Slow];

    fn name(self) -> &'static str {
        match self {
            Self::None => "none (two healthy collectors)",
            Self::Absent => "absent",
            Self::BlackHole => "black-holed",
            Self::TooMany => "429",
            Self::Unavailable => "503",
            Self::Slow => "slow, 0.7 s per export",
        }
    }
}

/// An operator with its own collector and namespace.
struct Side {
    operator: Operator,
    receiver: OtlpReceiver,
    /// Accepts connections and never responds.
    black_hole: Vec<TcpListener>,
    services: Api<DynamicObject>,
    _engine: FakeEngines,
}

impl Side {
    async fn start(cluster: &Cluster, name: &str, binary: &Path) -> Self {
        let (namespace, client) = (cluster.namespace(name).await, cluster.client().await);
        let receiver = OtlpReceiver::start().await;
        let environment = [
            ("ELPIO_NAMESPACES", namespace.as_str()),
            ("ELPIO_METRICS", "on"),
            ("ELPIO_METRICS_ADDR", "127.0.0.1"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.http_endpoint()),
            // The faults 429 and 503 are HTTP status codes.
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            // Export often, so that many exports fail.
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
            ("OTEL_BSP_SCHEDULE_DELAY", "200"),
            ("OTEL_BLRP_SCHEDULE_DELAY", "200"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "500"),
        ];
        let mut operator = Operator::spawn(binary, &cluster.kubeconfig_for(USER), &environment);
        operator.wait_ready().await;
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("elpio.io", "v1alpha1", "ElpioService"));
        let services = Api::namespaced_with(client.clone(), &namespace, &kind);
        let engine = FakeEngines::start(
            client,
            FakeEngineOptions { namespace: Some(namespace), ..FakeEngineOptions::default() },
        );
        let side = Self { operator, receiver, black_hole: Vec::new(), services, _engine: engine };
        let create = async |number: usize| {
            let object = serde_json::from_value(service(&format!("service-{number}"))).expect("an object");
            side.services.create(&PostParams::default(), &object).await.expect("a service");
        };
        join_all((0..SERVICES).map(create)).await;
        side.wait_until_ready().await;
        side
    }

    async fn edit(&self, number: usize, tag: &str) {
        let patch = Patch::Merge(json!({"spec": {"image": {"tag": tag}}}));
        let name = format!("service-{}", number % SERVICES);
        self.services.patch(&name, &PatchParams::default(), &patch).await.expect("an edit");
    }

    /// Waits until all services are ready at their current generation.
    async fn wait_until_ready(&self) {
        eventually("all services are ready", TIMEOUT, async || {
            let all = self.services.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
            let open = all.iter().filter(|service| !is_ready(service)).count();
            if open == 0 { Ok(()) } else { Err(format!("{open} are not ready")) }
        })
        .await;
    }

    async fn exports(&self, result: &str) -> f64 {
        self.operator.sample("elpio_telemetry_exports_total", &[("result", result)]).await.unwrap_or(0.0)
    }

    /// Injects the fault into its collector, and waits until exports are affected.
    async fn inject(&mut self, fault: CollectorFault) {
        match fault {
            CollectorFault::None => {}
            // gRPC's RESOURCE_EXHAUSTED and UNAVAILABLE, which over HTTP become 429 and 503.
            CollectorFault::TooMany => {
                self.receiver.set_fault(ReceiverFault::Status(8.into(), "too much".to_owned()));
            }
            CollectorFault::Unavailable => {
                self.receiver.set_fault(ReceiverFault::Status(14.into(), "not now".to_owned()));
            }
            CollectorFault::Slow => self.receiver.set_fault(ReceiverFault::Slow(Duration::from_millis(700))),
            CollectorFault::Absent => self.receiver.stop(),
            CollectorFault::BlackHole => {
                let port = self
                    .receiver
                    .http_endpoint()
                    .rsplit(':')
                    .next()
                    .and_then(|port| port.parse().ok())
                    .expect("a port");
                self.receiver.stop();
                self.black_hole.push(
                    eventually("the port is free", TIMEOUT, async || {
                        TcpListener::bind((Ipv4Addr::LOCALHOST, port))
                    })
                    .await,
                );
            }
        }
        self.wait_for_exports(fault, 2.0).await;
    }

    /// Waits until this many more exports have ended as they do with the fault.
    async fn wait_for_exports(&self, fault: CollectorFault, more: f64) {
        let result =
            if matches!(fault, CollectorFault::None | CollectorFault::Slow) { "success" } else { "error" };
        let before = self.exports(result).await;
        eventually("exports are affected by the fault", TIMEOUT, async || {
            let now = self.exports(result).await;
            if now >= before + more { Ok(()) } else { Err(format!("{now} {result}, {before} before")) }
        })
        .await;
    }

    /// Removes the fault.
    async fn recover(&mut self, fault: CollectorFault) {
        self.black_hole.clear();
        self.receiver.set_fault(ReceiverFault::None);
        if matches!(fault, CollectorFault::Absent | CollectorFault::BlackHole) {
            self.receiver.restart().await;
        }
        self.wait_for_exports(CollectorFault::None, 1.0).await;
        self.receiver.clear();
    }

    /// The durations in seconds of the reconciles logged since this offset.
    fn durations(&self, offset: usize) -> Vec<f64> {
        let log = self.operator.log();
        // `get`: the offset may be inside a character that had been written in part.
        let lines = log
            .get(offset..)
            .unwrap_or_default()
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .filter(|line| line["message"] == "reconciled")
            .filter_map(|line| line["seconds"].as_f64())
            .collect()
    }
}

/// Compares under each fault, prints a table, and returns whether all ratios are acceptable.
pub async fn compare(rounds: usize, binary: &Path) -> bool {
    let cluster = Cluster::start(ClusterOptions { crds: crds(), ..ClusterOptions::default() }).await;
    bind_cluster_admin(&cluster.client().await, USER).await;
    let mut sides =
        [Side::start(&cluster, "left", binary).await, Side::start(&cluster, "right", binary).await];
    println!(
        "\n{EDITS} edits of {SERVICES} services at each of two operators, {rounds} times with the fault at either of them\n"
    );
    let mut results = table(&[
        "collector",
        "reconciles",
        "p50 healthy, faulty, ratio",
        "p99 healthy, faulty, ratio",
        "98 % interval",
        "result",
    ]);
    let mut passed = true;
    for fault in CollectorFault::ALL {
        let mut pairs = Vec::new();
        for round in 0..rounds {
            for faulty in [round % 2, 1 - round % 2] {
                pairs.push(side_by_side(&mut sides, faulty, fault, pairs.len()).await);
            }
        }
        let count: usize = pairs.iter().map(|pair| pair.faulty.len()).sum();
        let (median, tail) = (comparison::compare(&pairs, 50), comparison::compare(&pairs, 99));
        let is_slower = tail.exceeds(MAX_RATIO) || median.exceeds(MAX_RATIO);
        passed &= !is_slower;
        let result = match (is_slower, tail.ratio > MAX_RATIO || median.ratio > MAX_RATIO) {
            (true, _) => "SLOWER",
            (false, true) => "not significant",
            (false, false) => "within 10 %",
        };
        let interval = format!("{:.2} … {:.2}", tail.interval.0, tail.interval.1);
        let name = fault.name().to_owned();
        results.add_row([name, count.to_string(), cells(&median), cells(&tail), interval, result.to_owned()]);
    }
    println!(
        "{results}\n\nPercentiles are over all comparisons; a ratio is the geometric mean of theirs, as load affects both sides.\n\
         SLOWER: a ratio above {MAX_RATIO} with a bootstrapped interval above 1."
    );
    passed
}

/// One comparison: the same edits at both operators at the same time, one of them with the fault.
async fn side_by_side(
    sides: &mut [Side; 2],
    faulty: usize,
    fault: CollectorFault,
    number: usize,
) -> PairedSamples {
    sides[faulty].inject(fault).await;
    let offsets = [0, 1].map(|side: usize| sides[side].operator.log().len());
    let failed = sides[faulty].exports("error").await;
    let tags: Vec<String> = (0..EDITS).map(|edit| format!("{}-{number}-{edit}", fault as u8)).collect();
    let mut ticks = tokio::time::interval(EDIT_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let edit_both = async |edit: usize, tag: &str| {
        // Alternately, because the first request finds the API server a little less busy.
        let (first, second) = (&sides[edit % 2], &sides[1 - edit % 2]);
        join(first.edit(edit, tag), second.edit(edit, tag)).await;
    };
    let mut running = Vec::new();
    for (edit, tag) in tags.iter().enumerate() {
        ticks.tick().await;
        running.push(edit_both(edit, tag));
        if running.len() == 4 {
            join_all(running.drain(..)).await;
        }
    }
    join_all(running).await;
    join(sides[0].wait_until_ready(), sides[1].wait_until_ready()).await;
    if !matches!(fault, CollectorFault::None | CollectorFault::Slow) {
        assert!(
            sides[faulty].exports("error").await > failed,
            "{fault:?}: no export failed during the comparison"
        );
    }
    let durations = |side: usize| sides[side].durations(offsets[side]);
    let pair = PairedSamples { healthy: durations(1 - faulty), faulty: durations(faulty) };
    sides[faulty].recover(fault).await;
    sides[1 - faulty].receiver.clear();
    pair
}

fn is_ready(service: &DynamicObject) -> bool {
    let status = &service.data["status"];
    service.metadata.generation.is_some_and(|generation| status["observedGeneration"] == generation)
        && status["ready"] == true
}

fn cells(compared: &Comparison) -> String {
    format!("{:.1} {:.1} ms {:.3}", compared.healthy * 1e3, compared.faulty * 1e3, compared.ratio)
}
