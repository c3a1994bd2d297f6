//! `--fairness`: what a flood, a webhook that hangs and failing objects in one namespace cost another one,
//! measured from outside: how long a new service there waits for its child.

use std::{path::Path, time::Duration};

use elpio_cluster::{Cluster, ClusterOptions, Operator, Webhook, webhook::Rule};
use kube::{Client, api::PostParams};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    USER,
    contender::spawn_operator,
    crds,
    load::{self, Load},
    observations::{Observation, Observations},
    results::{nearest_rank, table},
};

/// How long new services are measured, one after another, where nothing else says when to end.
const SAMPLE_TIME: Duration = Duration::from_secs(5);
/// Services whose webhook hangs or refuses.
const STUCK: usize = 400;
const HANG: Duration = Duration::from_secs(10);
/// If no Event is written for this long, none is taken to be waiting.
const EVENTS_PAUSE: Duration = Duration::from_secs(3);
const EVENTS_TIMEOUT: Duration = Duration::from_mins(5);

/// The median of the others may be so many times as long.
const MAX_RATIO_FLOOD: f64 = 2.0;
const MAX_RATIO_STUCK: f64 = 1.5;

struct Bench {
    client: Client,
    other: String,
    seen: Observations,
    undisturbed: Vec<Sample>,
    passed: bool,
}

/// One creation: how long it waited for its child. The operator has no part in how long the API server took for the
/// request that created it, and until it reported it to a watch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Sample {
    child: Duration,
    request: Duration,
    reported: Duration,
}

/// Prints what was measured; whether all is within its bounds.
pub async fn measure(binary: &Path, services: usize, workers: usize) -> bool {
    let cluster = Cluster::start(ClusterOptions { crds: crds(), ..ClusterOptions::default() }).await;
    let client = cluster.client().await;
    load::bind_cluster_admin(&client, USER).await;
    let (busy, other) = (cluster.namespace("busy").await, cluster.namespace("other").await);
    let mut operator = spawn_operator(binary, &cluster, workers, &[]);
    operator.wait_ready().await;
    let seen = Observations::start(&client, &other).await;
    let busy_seen = Observations::start(&client, &busy).await;
    let mut bench = Bench { client: client.clone(), other, seen, undisturbed: Vec::new(), passed: true };
    let mut rows = table(&[
        "create → child in another namespace",
        "p50",
        "ratio",
        "p99",
        "bound of the ratio",
        "its request, p50",
        "reported, p50",
    ]);

    eprintln!("creating {services} services …");
    let load = Load { client: client.clone(), namespace: busy.clone(), services };
    load.create().await;
    busy_seen.wait_for_all(Observation::Observed(1), services).await;
    wait_for_events(&operator).await;
    bench.measure_undisturbed(&mut rows, "edits").await;
    eprintln!("editing them, and creating others meanwhile …");
    let flood = async {
        load.edit().await;
        busy_seen.wait_for_all(Observation::ChildEdited, services).await;
    };
    let beside = bench.create_until("flood", flood).await;
    bench.add(&mut rows, &format!("beside {services} edits"), &beside, Some(MAX_RATIO_FLOOD));

    wait_for_events(&operator).await;
    bench.measure_undisturbed(&mut rows, "stop").await;
    eprintln!("editing them while the operator is stopped, and creating others once it goes on …");
    operator.signal(Signal::SIGSTOP);
    load.edit_to("3").await;
    operator.signal(Signal::SIGCONT);
    let backlog = busy_seen.wait_for_all(Observation::Observed(3), services);
    let beside = bench.create_until("backlog", async { drop(backlog.await) }).await;
    bench.add(&mut rows, &format!("beside a backlog of {services} edits"), &beside, Some(MAX_RATIO_FLOOD));

    wait_for_events(&operator).await;
    bench.measure_undisturbed(&mut rows, "webhook").await;
    eprintln!("creating {STUCK} services on KEDA whose webhook hangs …");
    let webhook = Webhook::start(client.clone(), &busy).await;
    webhook.add(Rule::delay("deployments", HANG));
    create_stuck(&client, &busy, "stuck").await;
    while webhook.requests().len() < 16 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let beside = bench.create("hang").await;
    bench.add(&mut rows, "beside a webhook of the other engine that hangs", &beside, Some(MAX_RATIO_STUCK));

    eprintln!("letting the webhook refuse them …");
    webhook.clear();
    webhook.add(Rule::refuse("deployments", 403, "not today"));
    create_stuck(&client, &busy, "refused").await;
    while webhook.refused() < STUCK {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let beside = bench.create("refused").await;
    bench.add(&mut rows, "beside objects that fail and are retried", &beside, Some(MAX_RATIO_STUCK));
    webhook.stop().await;
    println!("\n{rows}");
    bench.passed && operator.is_running()
}

impl Bench {
    async fn create_one(&self, name: &str) -> Sample {
        let load = Load { client: self.client.clone(), namespace: self.other.clone(), services: 0 };
        let sent = load.create_one(name).await;
        let request = sent.elapsed();
        let child = self.seen.wait_for(Observation::Child, name).await.saturating_duration_since(sent);
        let reported = self.seen.wait_for(Observation::Reported, name).await.saturating_duration_since(sent);
        Sample { child, request, reported }
    }

    async fn create(&self, prefix: &str) -> Vec<Sample> {
        self.create_until(prefix, tokio::time::sleep(SAMPLE_TIME)).await
    }

    /// What the next disturbances are compared with: the machine's speed and what the API server holds change.
    async fn measure_undisturbed(&mut self, rows: &mut comfy_table::Table, prefix: &str) {
        eprintln!("creating services while nothing else goes on …");
        self.undisturbed = self.create(prefix).await;
        self.add(rows, "undisturbed", &self.undisturbed.clone(), None);
    }

    /// For as long as something goes on. What has begun meanwhile counts.
    async fn create_until(&self, prefix: &str, end: impl Future<Output = ()>) -> Vec<Sample> {
        let (mut times, mut end, mut goes_on) = (Vec::new(), std::pin::pin!(end), true);
        while goes_on {
            let name = format!("{prefix}-{}", times.len());
            let mut one = std::pin::pin!(self.create_one(&name));
            tokio::select! {
                took = &mut one => times.push(took),
                () = &mut end => {
                    goes_on = false;
                    times.push(one.await);
                }
            }
        }
        times
    }

    fn add(&mut self, rows: &mut comfy_table::Table, what: &str, samples: &[Sample], bound: Option<f64>) {
        let sorted = |samples: &[Sample], time: fn(&Sample) -> Duration| {
            let mut times: Vec<Duration> = samples.iter().map(time).collect();
            times.sort_unstable();
            times
        };
        let median = |times: &[Duration]| nearest_rank(times, 50).as_secs_f64();
        let times = sorted(samples, |one| one.child);
        let ratio = median(&times) / median(&sorted(&self.undisturbed, |one| one.child));
        self.passed &= bound.is_none_or(|bound| ratio <= bound);
        rows.add_row([
            format!("  {what} ({} samples)", times.len()),
            format!("{:.1} ms", median(&times) * 1e3),
            format!("{ratio:.2}"),
            format!("{:.1} ms", nearest_rank(&times, 99).as_secs_f64() * 1e3),
            bound.map_or_else(String::new, |bound| format!("{bound}")),
            format!("{:.1} ms", median(&sorted(samples, |one| one.request)) * 1e3),
            format!("{:.1} ms", median(&sorted(samples, |one| one.reported)) * 1e3),
        ]);
    }
}

/// Waits until no more Events are written: those of one disturbance are no part of the next one.
async fn wait_for_events(operator: &Operator) {
    let quiet = async {
        let mut before = None;
        loop {
            let page = operator.metrics("text/plain").await;
            let now: String = page.lines().filter(|line| line.starts_with("elpio_events_total")).collect();
            if before.replace(now.clone()).is_some_and(|before| before == now) {
                return;
            }
            tokio::time::sleep(EVENTS_PAUSE).await;
        }
    };
    tokio::time::timeout(EVENTS_TIMEOUT, quiet).await.expect("Events are still written");
}

async fn create_stuck(client: &Client, namespace: &str, prefix: &str) {
    let load = Load { client: client.clone(), namespace: namespace.to_owned(), services: 0 };
    for number in 0..STUCK {
        let mut service = load::service(&format!("{prefix}-{number}"));
        service["spec"]["engine"] = json!("keda");
        service["spec"]["scaling"] = json!({"metric": "rps", "maxScale": 10});
        let object = serde_json::from_value(service).expect("an object");
        load.api().create(&PostParams::default(), &object).await.expect("a service");
    }
}
