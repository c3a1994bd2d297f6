//! More faults, each real, of what takes more than one process or a history: see `faults`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use elpio_cluster::{Cluster, Operator, OtlpReceiver, eventually};
use elpio_support::objective::Settings;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::{
    alerts::{
        faults::{all_ready, apply_many},
        scenario::{Record, Scenario},
    },
    live_env::{LiveEnv, TIMEOUT, binary, image},
};

/// Services that were ready in time before the engine hangs: what misses the objective then is less than the slow
/// windows allow.
const HISTORY: usize = 120;
/// Three of them have to be seen within a minute.
const MAX_KILLS: u32 = 6;
/// The objective's hour and five minutes in the rules of these tests, and a margin.
const HOUR: Duration = Duration::from_secs(65);

/// Two replicas that each hold a Lease, since they keep it in different namespaces.
pub async fn two_leases() -> Record {
    let cluster = Cluster::shared().await;
    let namespaces = [cluster.namespace("one-lease").await, cluster.namespace("other-lease").await];
    let election = [("ELPIO_LEADER_ELECT", "on"), ("POD_NAMESPACE", namespaces[0].as_str())];
    let mut scenario = Scenario::new("ElpioTwoLeaders", &election).await;
    let watched = scenario.env.namespace.clone();
    let environment = [
        ("ELPIO_NAMESPACES", watched.as_str()),
        ("ELPIO_METRICS", "on"),
        ("ELPIO_METRICS_ADDR", "127.0.0.1"),
        ("ELPIO_LEADER_ELECT", "on"),
        ("POD_NAMESPACE", namespaces[1].as_str()),
    ];
    let mut second = Operator::spawn(binary(), &cluster.kubeconfig(), &environment);
    second.wait_ready().await;
    let targets = [scenario.env.operator.metrics_port(), second.metrics_port()];
    scenario.prometheus.set_scrape_targets(&targets.map(|port| format!("127.0.0.1:{port}"))).await;
    scenario.fires().await;
    second.terminate(TIMEOUT).await;
    scenario.resolves().await;
    scenario.serving("web").await;
    scenario.end().await
}

/// The operator ends over and over. Where the first scrape of a process comes later in its life than the last one of
/// the process before, there is no reset: each lives for longer.
pub async fn crash_loop() -> Record {
    let mut scenario = Scenario::new("ElpioCrashLoop", &[]).await;
    for kill in 0..MAX_KILLS {
        let lives = 3 + 2 * kill;
        scrape(&scenario, &format!("process_uptime_seconds > {lives}")).await;
        let killed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        scenario.env.operator.kill();
        scenario.env.restart().await;
        scrape(&scenario, &format!("timestamp(process_uptime_seconds) - process_uptime_seconds > {killed}"))
            .await;
        if scenario.is_firing(&scenario.prometheus.alerts().await.unwrap()) {
            break;
        }
    }
    scenario.fires().await;
    scenario.serving("web").await;
    scenario.resolves().await;
    scenario.end().await
}

/// Waits until Prometheus has an answer to the query.
async fn scrape(scenario: &Scenario, query: &str) {
    eventually(query, TIMEOUT, async || {
        let found = scenario.prometheus.query(query).await?;
        let seen = scenario.prometheus.query("process_uptime_seconds").await?;
        if found.is_empty() { Err(format!("{seen:?}")) } else { Ok(()) }
    })
    .await;
}

/// An engine that works for long, and then never gets ready. A restart in between burns nothing.
pub async fn hanging_engine() -> Record {
    let mut scenario =
        Scenario::new("ElpioRolloutBudgetBurnsFast", &[("ELPIO_ROLLOUT_DEADLINE", "25s")]).await;
    let names = apply_many(&scenario.env, HISTORY).await;
    all_ready(&scenario.env, &names).await;
    scenario.step("history");
    scenario.env.operator.terminate(TIMEOUT).await;
    scenario.env.restart().await;
    nothing_missed(&scenario).await;
    // The history has left the shorter windows.
    let query =
        format!("sum(increase(elpio_rollouts_total{{outcome=\"ready\"}}[{}s])) > 0.5", HOUR.as_secs());
    eventually("the history is an hour old", HOUR * 3, async || {
        let recent = scenario.prometheus.query(&query).await?;
        if recent.is_empty() { Ok(()) } else { Err(format!("{recent:?}")) }
    })
    .await;
    scenario.step("an hour");
    scenario.env.engine.hold();
    for index in 0..6 {
        scenario.env.apply(&format!("late-{index}"), &image("v1")).await;
    }
    scenario.fires().await;
    scenario.env.engine.release();
    scenario.resolves().await;
    scenario.end().await
}

/// No rollout counts as missed, in any window, at any time until now.
pub async fn nothing_missed(scenario: &Scenario) {
    for window in Settings::read().objective.windows() {
        let query = format!("max(max_over_time(elpio:rollouts_missed:increase_{window}[1h]))");
        eventually("the window is recorded, and nothing missed", TIMEOUT, async || {
            match scenario.prometheus.query(&query).await?.first() {
                Some(series) if series.value == 0.0 => Ok(()),
                other => Err(format!("{window}: {other:?}")),
            }
        })
        .await;
    }
}

/// Somebody writes the children's image over and over.
pub async fn fight() -> Record {
    let mut scenario = Scenario::new("ElpioManagersFight", &[]).await;
    let names = apply_many(&scenario.env, 4).await;
    all_ready(&scenario.env, &names).await;
    let mut round = 0_u32;
    let fires = async |scenario: &Scenario| {
        let alerts = scenario.prometheus.alerts().await?;
        if scenario.is_firing(&alerts) { Ok(()) } else { Err(format!("{alerts:?}")) }
    };
    eventually("ElpioManagersFight fires", Duration::from_mins(6), async || {
        round += 1;
        for name in &names {
            overwrite(&scenario.env, name, round).await?;
        }
        // Slower than what the operator takes for a hot loop, and within an object's Events.
        tokio::time::sleep(Duration::from_secs(15)).await;
        fires(&scenario).await
    })
    .await;
    scenario.fires().await;
    scenario.resolves().await;
    all_ready(&scenario.env, &names).await;
    scenario.end().await
}

async fn overwrite(env: &LiveEnv, name: &str, round: u32) -> Result<(), String> {
    let mut live = env.knative().get(name).await.map_err(|error| error.to_string())?;
    live.data["spec"]["template"]["spec"]["containers"][0]["image"] =
        json!(format!("registry.local/other:{round}"));
    let patch = json!({"spec": live.data["spec"]});
    let written = env.knative().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
    written.map(drop).map_err(|error| error.to_string())
}

/// The collector takes everything but metrics.
pub async fn no_metrics() -> Record {
    let mut metrics = OtlpReceiver::start().await;
    let endpoint = metrics.endpoint();
    let environment = [
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", endpoint.as_str()),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1000"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
    ];
    let mut scenario = Scenario::new("ElpioMetricsRefused", &environment).await;
    scenario.serving("web").await;
    metrics.stop();
    scenario.fires().await;
    metrics.restart().await;
    scenario.resolves().await;
    scenario.end().await
}
