//! The matrix of faults and alerts: every fault at the same time, each in its own place. It has to be the
//! identity.

use std::{
    fmt::Write as _,
    future::Future,
    io::Write as _,
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use elpio_cluster::{Cluster, Operator, Webhook, eventually};
use serde_json::json;

use crate::{
    alerts::{
        faults, load_faults,
        scenario::{Record, Scenario},
    },
    live_env::{LiveEnv, TIMEOUT, binary, image, with},
};

type Story = Pin<Box<dyn Future<Output = Record>>>;

/// A row: what is done, the alert that it raises, and how.
pub struct Fault {
    pub alert: &'static str,
    pub what: &'static str,
    story: fn() -> Story,
}

const fn fault(alert: &'static str, what: &'static str, story: fn() -> Story) -> Fault {
    Fault { alert, what, story }
}

pub static FAULTS: &[Fault] = &[
    fault("ElpioOperatorAbsent", "the operator is killed", || Box::pin(faults::killed())),
    fault("ElpioNoLeader", "the Lease may not be written", || Box::pin(faults::no_lease())),
    fault("ElpioTwoLeaders", "two replicas with a Lease each", || Box::pin(load_faults::two_leases())),
    fault("ElpioCrashLoop", "the operator is killed repeatedly", || Box::pin(load_faults::crash_loop())),
    fault("ElpioForbidden", "one permission is missing", || Box::pin(faults::no_right())),
    fault("ElpioReconcileErrors", "a webhook does not work", || Box::pin(faults::rejected())),
    fault("ElpioUnsettled", "statuses are written slowly", || Box::pin(faults::slow_status())),
    fault("ElpioWatchStale", "watches fall silent", || Box::pin(faults::silent_watches())),
    fault("ElpioQueueSlow", "children are written slowly", || Box::pin(faults::slow_children())),
    fault("ElpioRolloutBudgetBurnsFast", "an engine hangs", || Box::pin(load_faults::hanging_engine())),
    fault("ElpioBuildsFailing", "sources do not build", || Box::pin(faults::broken_build())),
    fault("ElpioManagersFight", "another manager writes children", || Box::pin(load_faults::fight())),
    fault("ElpioEventsDropped", "Events may not be written", || Box::pin(faults::no_events())),
    fault("ElpioTelemetryDropped", "the collector is gone", || Box::pin(faults::no_collector())),
    fault("ElpioMetricsRefused", "metrics cannot be pushed", || Box::pin(load_faults::no_metrics())),
];

/// Alerts that promtool alone tests, with the reason.
pub static PROMTOOL_ONLY: &[(&str, &str)] = &[
    ("ElpioReplicasMissing", "needs a Deployment and kube-state-metrics"),
    (
        "ElpioInternalError",
        "nothing outside can make the program panic; tests/telemetry/panics.rs has the counter",
    ),
    (
        "ElpioWorkerStuck",
        "every call has a time-out, so that nothing outside can hold up a reconcile for two minutes",
    ),
    (
        "ElpioRolloutBudgetBurnsSlowly",
        "its windows need a history of hours; tests/dashboards/alerts/objective.rs has each",
    ),
    (
        "ElpioMetricOverflow",
        "the templates of paths are fewer than the limit; tests/telemetry has the overflow",
    ),
];

/// The pace of a healthy operator's work.
const EDITS: Duration = Duration::from_secs(3);

/// Faults whose stories have not ended.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// Two replicas at work for as long as the faults take: successes, edits, builds, users' mistakes, a change of
/// leader. Nothing is wrong with the operator.
async fn nothing() -> Record {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("replicas").await;
    let election = [("ELPIO_LEADER_ELECT", "on"), ("POD_NAMESPACE", namespace.as_str())];
    let mut scenario = Scenario::new("None", &election).await;
    let watched = scenario.env.namespace.clone();
    let mut variables = vec![
        ("ELPIO_NAMESPACES", watched.as_str()),
        ("ELPIO_METRICS", "on"),
        ("ELPIO_METRICS_ADDR", "127.0.0.1"),
    ];
    variables.extend(election);
    let mut follower = Operator::spawn(binary(), &cluster.kubeconfig(), &variables);
    follower.wait_ready().await;
    let targets = [scenario.env.operator.metrics_port(), follower.metrics_port()]
        .map(|port| format!("127.0.0.1:{port}"));
    scenario.prometheus.set_scrape_targets(&targets).await;
    eventually("one leads, one stands by", Duration::from_mins(2), async || {
        let leading =
            scenario.prometheus.query("count_values(\"leads\", leader_election_master_status)").await?;
        if leading.len() == 2 { Ok(()) } else { Err(format!("{leading:?}")) }
    })
    .await;
    mistakes(&scenario.env).await;
    scenario.serving("web").await;
    faults::build(&scenario.env, "hello", "v1", true).await;
    faults::build(&scenario.env, "broken", "v1", false).await;
    scenario.step("two replicas");
    // Who leads hands over to the other, and comes back.
    scenario.env.operator.terminate(TIMEOUT).await;
    scenario.serving("after").await;
    scenario.env.restart().await;
    scenario.step("another leads");
    let mut edits = 0;
    eventually("the faults have come to their end", Duration::from_mins(15), async || {
        // A load: a rollout every few seconds, as one object may not cause more Events than that.
        edits += 1;
        let name = format!("web-{}", edits % 10);
        scenario.env.apply(&name, &image(&format!("v{edits}"))).await;
        scenario.env.ready(&name).await;
        tokio::time::sleep(EDITS).await;
        match OPEN.load(Ordering::SeqCst) {
            0 => Ok(()),
            open => Err(format!("{open} go on")),
        }
    })
    .await;
    scenario.step("at work");
    load_faults::nothing_missed(&scenario).await;
    scenario.end().await
}

/// What users do wrong: a spec that is none, and a quota that is spent. Both are theirs to mend.
async fn mistakes(env: &LiveEnv) {
    let invalid = with(image("v1"), &json!({"port": 8012, "env": [{"name": "PORT", "value": "1"}]}));
    env.apply("mistake", &invalid).await;
    env.condition("mistake", "Reconciled", "False", "InvalidSpec").await;
    let webhook = Webhook::start(env.client.clone(), &env.namespace).await;
    webhook.refuse("services.serving.knative.dev", 403, "exceeded quota: services");
    let names: Vec<String> = (0..8).map(|index| format!("quota-{index}")).collect();
    for name in &names {
        env.apply(name, &image("v1")).await;
        env.condition(name, "Reconciled", "False", "ApplyFailed").await;
    }
    webhook.clear();
    for name in &names {
        env.apply(name, &image("v2")).await;
        env.ready(name).await;
    }
}

/// What came of a row; text when it failed on the way.
type Row = (&'static str, Option<&'static str>, Result<Record, String>);

/// On a thread and a runtime of its own, as any test has.
fn run_story(story: fn() -> Story) -> Result<Record, String> {
    let outcome = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(story())
    });
    outcome.join().map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned())).unwrap_or_default()
    })
}

fn run_all() -> Vec<Row> {
    OPEN.store(FAULTS.len(), Ordering::SeqCst);
    thread::scope(|scope| {
        let rows: Vec<_> = FAULTS
            .iter()
            .map(|fault| {
                scope.spawn(move || {
                    let result = run_story(fault.story);
                    OPEN.fetch_sub(1, Ordering::SeqCst);
                    (fault.what, Some(fault.alert), result)
                })
            })
            .collect();
        let calm = scope.spawn(|| ("nothing: two replicas at work", None, run_story(|| Box::pin(nothing()))));
        rows.into_iter().chain([calm]).map(|row| row.join().expect("a row does not panic")).collect()
    })
}

/// Columns by number, so that the lines stay short.
fn picture(rows: &[Row], took: Duration) -> String {
    let mut text = format!("\nFaults × alerts ({:.0} s)\n  {:<36}", took.as_secs_f64(), "");
    (1..=FAULTS.len()).for_each(|column| write!(text, "{column:>3}").unwrap());
    for (index, (what, alert, result)) in rows.iter().enumerate() {
        let number = alert.map_or_else(String::new, |_| format!("{}", index + 1));
        write!(text, "\n  {number:>2} {what:<33}").unwrap();
        let Ok(record) = result else {
            text += "  failed";
            continue;
        };
        for column in FAULTS {
            let fired = record.fired.iter().any(|name| name == column.alert);
            write!(text, "  {}", if fired { '■' } else { '·' }).unwrap();
        }
        write!(text, "   {}", alert.unwrap_or("(none)")).unwrap();
    }
    text += "\n\n";
    for (what, _, result) in rows {
        let Ok(record) = result else { continue };
        let (answered, asked) = record.runbook;
        let steps: Vec<String> =
            record.steps.iter().map(|(step, took)| format!("{step} {:.0} s", took.as_secs_f64())).collect();
        let runbook = if asked > 0 {
            format!("; {answered} of {asked} queries of its runbook show something")
        } else {
            String::new()
        };
        writeln!(text, "  {what:<36} {}{runbook}", steps.join(", ")).unwrap();
    }
    text
}

#[test]
fn each_fault_raises_its_alert_and_no_other() {
    let begun = Instant::now();
    let rows = run_all();
    // Past the runner's capture: it is the result.
    let _ = std::io::stderr().lock().write_all(picture(&rows, begun.elapsed()).as_bytes());
    let wrong: Vec<String> = rows.iter().filter_map(wrong).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is not as it should be in a row.
fn wrong((what, alert, result): &Row) -> Option<String> {
    let record = match result {
        Ok(record) => record,
        Err(panic) => return Some(format!("{what}: {panic}")),
    };
    let wanted: Vec<&str> = alert.iter().copied().collect();
    let matches = record.fired == wanted && record.missed.is_empty();
    (!matches)
        .then(|| format!("{what}: fired {:?}, wanted {wanted:?}\n{}", record.fired, record.missed.join("\n")))
}
