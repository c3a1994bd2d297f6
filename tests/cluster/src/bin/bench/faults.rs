//! What a faulty collector costs: two operators side by side under the same load, one of them with the fault,
//! in turns.
//!
//! Each has a collector of its own, and each is the one with the fault in half of the comparisons, so that
//! neither a process nor the machine makes the difference. Durations are those of the operator's own log
//! lines: one for each reconcile that changed something.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::Path,
    time::Duration,
};

use elpio_cluster::{
    Cluster, Operator, Options, OtlpReceiver, StandInEngine, eventually,
    otlp::Fault,
    ratio::{Compared, Pair, compare as ratio},
    standin::Play,
};
use futures::future::{join, join_all};
use kube::{
    api::{Api, ListParams, Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::{
    USER, crds,
    load::{make_administrator, service},
};

/// Services of each operator, edits of a comparison, and the time between two.
const SERVICES: usize = 40;
const EDITS: usize = 150;
const PAUSE: Duration = Duration::from_millis(30);
/// What is asked for.
const MOST: f64 = 1.1;
/// Long enough for a machine that does something else at the same time.
const BOUND: Duration = Duration::from_mins(2);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    None,
    Absent,
    BlackHole,
    TooMany,
    Unavailable,
    Slow,
}

impl Trouble {
    const ALL: [Self; 6] =
        [Self::None, Self::Absent, Self::BlackHole, Self::TooMany, Self::Unavailable, Self::Slow];

    fn name(self) -> &'static str {
        match self {
            Self::None => "none (how far two healthy ones are apart)",
            Self::Absent => "absent",
            Self::BlackHole => "black-holed",
            Self::TooMany => "429",
            Self::Unavailable => "503",
            Self::Slow => "slow, 0.7 s for each export",
        }
    }
}

/// An operator with its collector and its namespace.
struct Side {
    operator: Operator,
    receiver: OtlpReceiver,
    /// Takes connections and never says anything.
    hole: Vec<TcpListener>,
    services: Api<DynamicObject>,
    _engine: StandInEngine,
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
            // Where 429 and 503 are what they are called.
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            // Often, so that there is much to fail.
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
            ("OTEL_BSP_SCHEDULE_DELAY", "200"),
            ("OTEL_BLRP_SCHEDULE_DELAY", "200"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "500"),
        ];
        let mut operator = Operator::spawn(binary, &cluster.kubeconfig_for(USER), &environment);
        operator.wait_ready().await;
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("elpio.io", "v1alpha1", "ElpioService"));
        let services = Api::namespaced_with(client.clone(), &namespace, &kind);
        let engine = StandInEngine::start(client, Play { namespace: Some(namespace), ..Play::default() });
        let side = Self { operator, receiver, hole: Vec::new(), services, _engine: engine };
        let create = async |number: usize| {
            let object = serde_json::from_value(service(&format!("service-{number}"))).expect("an object");
            side.services.create(&PostParams::default(), &object).await.expect("a service");
        };
        join_all((0..SERVICES).map(create)).await;
        side.all_ready().await;
        side
    }

    async fn edit(&self, number: usize, tag: &str) {
        let patch = Patch::Merge(json!({"spec": {"image": {"tag": tag}}}));
        let name = format!("service-{}", number % SERVICES);
        self.services.patch(&name, &PatchParams::default(), &patch).await.expect("an edit");
    }

    /// Every service is ready for what it asks for now.
    async fn all_ready(&self) {
        eventually("all services are ready", BOUND, async || {
            let all = self.services.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
            let open = all.iter().filter(|service| !is_ready(service)).count();
            if open == 0 { Ok(()) } else { Err(format!("{open} are not")) }
        })
        .await;
    }

    async fn exports(&self, result: &str) -> f64 {
        self.operator.sample("elpio_telemetry_exports_total", &[("result", result)]).await.unwrap_or(0.0)
    }

    /// From now on its collector has that trouble; returns when exports meet it.
    async fn begin(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::None => {}
            // gRPC's RESOURCE_EXHAUSTED and UNAVAILABLE, which the receiver says as 429 and 503 over HTTP.
            Trouble::TooMany => self.receiver.answer(Fault::Status(8.into(), "too much".to_owned())),
            Trouble::Unavailable => self.receiver.answer(Fault::Status(14.into(), "not now".to_owned())),
            Trouble::Slow => self.receiver.answer(Fault::Slow(Duration::from_millis(700))),
            Trouble::Absent => self.receiver.stop(),
            Trouble::BlackHole => {
                let port = self
                    .receiver
                    .http_endpoint()
                    .rsplit(':')
                    .next()
                    .and_then(|port| port.parse().ok())
                    .expect("a port");
                self.receiver.stop();
                self.hole.push(
                    eventually("the port is free", BOUND, async || {
                        TcpListener::bind((Ipv4Addr::LOCALHOST, port))
                    })
                    .await,
                );
            }
        }
        self.meets(trouble, 2.0).await;
    }

    /// So many exports more have ended as they do with that trouble.
    async fn meets(&self, trouble: Trouble, more: f64) {
        let result = if matches!(trouble, Trouble::None | Trouble::Slow) { "success" } else { "error" };
        let before = self.exports(result).await;
        eventually("exports meet the trouble", BOUND, async || {
            let now = self.exports(result).await;
            if now >= before + more { Ok(()) } else { Err(format!("{now} {result}, {before} before")) }
        })
        .await;
    }

    /// All is well again.
    async fn end(&mut self, trouble: Trouble) {
        self.hole.clear();
        self.receiver.answer(Fault::None);
        if matches!(trouble, Trouble::Absent | Trouble::BlackHole) {
            self.receiver.restart().await;
        }
        self.meets(Trouble::None, 1.0).await;
        self.receiver.clear();
    }

    /// How long each reconcile took, in seconds, that the log tells of since that place.
    fn durations(&self, since: usize) -> Vec<f64> {
        let log = self.operator.log();
        // A place inside a character is one before it is written as a whole.
        let lines = log
            .get(since..)
            .unwrap_or_default()
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .filter(|line| line["message"] == "reconciled")
            .filter_map(|line| line["seconds"].as_f64())
            .collect()
    }
}

/// Compares under every trouble, prints the table, and says whether all is within bounds.
pub async fn compare(rounds: usize, binary: &Path) -> bool {
    let cluster = Cluster::start(Options { crds: crds(), ..Options::default() }).await;
    make_administrator(&cluster.client().await, USER).await;
    let mut sides =
        [Side::start(&cluster, "one", binary).await, Side::start(&cluster, "other", binary).await];
    println!(
        "\n{EDITS} edits of {SERVICES} services at each of two operators, {rounds} times with either beside the fault\n"
    );
    println!(
        "{:<42} {:>6} {:>19} {:>19} {:>13}  verdict",
        "collector", "each", "p50 well, ill, ratio", "p99 well, ill, ratio", "98 % between"
    );
    let mut within = true;
    for trouble in Trouble::ALL {
        let mut pairs = Vec::new();
        for round in 0..rounds {
            for ill in [round % 2, 1 - round % 2] {
                pairs.push(side_by_side(&mut sides, ill, trouble, pairs.len()).await);
            }
        }
        let count: usize = pairs.iter().map(|pair| pair.ill.len()).sum();
        let (middle, tail) = (ratio(&pairs, 50), ratio(&pairs, 99));
        let slower = tail.exceeds(MOST) || middle.exceeds(MOST);
        within &= !slower;
        let beyond = tail.ratio > MOST || middle.ratio > MOST;
        let verdict = match (slower, beyond) {
            (true, _) => "SLOWER",
            (false, true) => "no more than chance",
            (false, false) => "within 10 %",
        };
        let between = format!("{:.2} … {:.2}", tail.interval.0, tail.interval.1);
        println!(
            "{:<42} {count:>6} {:>19} {:>19} {between:>13}  {verdict}",
            trouble.name(),
            cells(&middle),
            cells(&tail)
        );
    }
    println!(
        "\nPercentiles are of all comparisons; a ratio is the geometric mean of theirs, since what the machine does meanwhile meets both sides."
    );
    println!("SLOWER: a ratio above {MOST}, whose interval (by drawing comparisons again) begins above 1.");
    within
}

/// One comparison: the same edits at both at the same time, `ill` with the trouble.
async fn side_by_side(sides: &mut [Side; 2], ill: usize, trouble: Trouble, number: usize) -> Pair {
    sides[ill].begin(trouble).await;
    let since = [0, 1].map(|side: usize| sides[side].operator.log().len());
    let failed = sides[ill].exports("error").await;
    let tags: Vec<String> = (0..EDITS).map(|edit| format!("{}-{number}-{edit}", trouble as u8)).collect();
    let mut ticks = tokio::time::interval(PAUSE);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let one = async |edit: usize, tag: &str| {
        // Who is asked first finds the API server a little less busy.
        let (first, second) = (&sides[edit % 2], &sides[1 - edit % 2]);
        join(first.edit(edit, tag), second.edit(edit, tag)).await;
    };
    let mut running = Vec::new();
    for (edit, tag) in tags.iter().enumerate() {
        ticks.tick().await;
        running.push(one(edit, tag));
        if running.len() == 4 {
            join_all(running.drain(..)).await;
        }
    }
    join_all(running).await;
    join(sides[0].all_ready(), sides[1].all_ready()).await;
    if !matches!(trouble, Trouble::None | Trouble::Slow) {
        assert!(sides[ill].exports("error").await > failed, "{trouble:?}: no export failed meanwhile");
    }
    let durations = |side: usize| sides[side].durations(since[side]);
    let pair = Pair { well: durations(1 - ill), ill: durations(ill) };
    sides[ill].end(trouble).await;
    sides[1 - ill].receiver.clear();
    pair
}

fn is_ready(service: &DynamicObject) -> bool {
    let status = &service.data["status"];
    service.metadata.generation.is_some_and(|generation| status["observedGeneration"] == generation)
        && status["ready"] == true
}

fn cells(compared: &Compared) -> String {
    format!("{:.1} {:.1} ms {:.3}", compared.well * 1e3, compared.ill * 1e3, compared.ratio)
}
