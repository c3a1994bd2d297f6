//! `cargo bench-operator`: how long, how many requests, how much CPU and memory the operator takes for many
//! services at once, against a real API server; with `--faults`: what a faulty collector costs its
//! reconciles. It measures from outside only: watches, the operator's own metrics page, `/proc`, the audit
//! log.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a program for the terminal: what goes wrong ends it, with the reason"
)]

mod faults;
mod load;
mod requests;
mod results;
mod sightings;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Arg, ArgAction, Command, value_parser};
use elpio_cluster::{Cluster, Crds, Operator, Options, OtlpReceiver, StandInEngine, cargo, standin::Play};
use load::Load;
use requests::Meter;
use results::Results;
use sightings::{Sight, Sightings};

/// The operator's own user, so that the audit log tells it from us.
const USER: &str = "elpio-test-0";

struct Settings {
    services: usize,
    idle: Duration,
    audit: bool,
    push: bool,
    dev: bool,
    workers: usize,
}

fn main() -> ExitCode {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let number = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name).long(name).default_value(default).value_parser(value_parser!(u32)).help(help)
    };
    let arguments = Command::new("cargo bench-operator")
        .about("Measures the operator with many ElpioServices at once (engine Knative, played by a stand-in).")
        .arg(number("services", "200", "How many are created, made ready and edited at once"))
        .arg(number("idle", "30", "Seconds of rest in which requests are counted"))
        .arg(number("workers", "16", "ELPIO_CONCURRENCY of the operator"))
        .arg(flag("audit", "Check the operator's own count of requests against the API server's audit log"))
        .arg(flag("push", "Also push traces, metrics and logs by OTLP, every reconcile sampled"))
        .arg(
            Arg::new("binary")
                .long("binary")
                .value_name("PATH")
                .value_parser(value_parser!(PathBuf))
                .help("Measure this binary, and build none"),
        )
        .arg(flag("faults", "Compare the reconciles beside a faulty collector with those beside a healthy one, instead of all the above"))
        .arg(number("rounds", "6", "With --faults: how often each fault is tried at either of two operators"))
        .arg(flag("dev", "Measure a development build (to try the benchmark itself)"))
        .get_matches();
    let number = |name: &str| *arguments.get_one::<u32>(name).expect("has a default") as usize;
    let settings = Settings {
        services: number("services"),
        idle: Duration::from_secs(number("idle") as u64),
        audit: arguments.get_flag("audit"),
        push: arguments.get_flag("push"),
        dev: arguments.get_flag("dev"),
        workers: number("workers"),
    };
    let given = arguments.get_one::<PathBuf>("binary").cloned();
    let binary = match given.map_or_else(|| cargo::build_operator(!settings.dev), Ok) {
        Ok(binary) => binary,
        Err(reason) => {
            eprintln!("{reason}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (faults, rounds) = (arguments.get_flag("faults"), number("rounds"));
    runtime.block_on(async {
        tokio::select! {
            within = faults::compare(rounds, &binary), if faults => if within { ExitCode::SUCCESS } else { ExitCode::FAILURE },
            results = measure(&settings, &binary), if !faults => {
                results.print();
                ExitCode::SUCCESS
            }
            _ = tokio::signal::ctrl_c() => ExitCode::from(130),
        }
    })
}

/// What the operator watches.
fn crds() -> Vec<Crds> {
    vec![
        Crds::KNATIVE,
        Crds::KEDA,
        Crds::HTTP_ADD_ON,
        Crds::CERT_MANAGER,
        Crds::EXTERNAL_SECRETS,
        Crds::ELPIO,
    ]
}

async fn measure(settings: &Settings, binary: &Path) -> Results {
    let cluster = Cluster::start(Options { crds: crds(), audit: settings.audit, ..Options::default() }).await;
    let client = cluster.client().await;
    load::make_administrator(&client, USER).await;
    let namespace = cluster.namespace("bench").await;
    let receiver = OtlpReceiver::start().await;
    let operator = start_operator(settings, binary, &cluster, &receiver).await;
    let engine =
        StandInEngine::start(client.clone(), Play { namespace: Some(namespace.clone()), ..Play::default() });
    engine.hold();
    let sightings = Sightings::start(&client, &namespace).await;
    let load = Load { client, namespace, services: settings.services };
    let n = settings.services;

    let mut meter = Meter::new(&operator, &cluster, settings.audit).await;
    let mut results = Results::new(n, settings.workers, settings.push, settings.dev);
    results.rss_start = operator.rss();

    eprintln!("creating {n} services …");
    let (sent, answered) = load.create().await;
    let child = sightings.all(Sight::Child, n).await;
    results.time("create → child", &sent, &child);
    results.time("  from the create's answer", &answered, &child);
    results.phase("create", meter.phase().await);

    eprintln!("making their children ready …");
    engine.release();
    let child_ready = sightings.all(Sight::ChildReady(1), n).await;
    let ready = sightings.all(Sight::Ready(1), n).await;
    results.time("child ready → Ready", &child_ready, &ready);
    results.phase("ready", meter.phase().await);

    // Engines take seconds: none is done with an edit while others are still being sent.
    engine.hold();
    eprintln!("editing them …");
    let (sent, answered) = load.edit().await;
    let edited = sightings.all(Sight::ChildEdited, n).await;
    results.time("edit → child", &sent, &edited);
    results.time("  from the edit's answer", &answered, &edited);
    results.phase("edit", meter.phase().await);

    engine.release();
    sightings.all(Sight::Ready(2), n).await;
    results.phase("again", meter.phase().await);

    eprintln!("resting for {:?} …", settings.idle);
    results.idle(settings.idle, meter.rest(settings.idle).await);
    results.rss = operator.rss();
    results.rss_peak = elpio_cluster::proc::peak_rss(operator.pid());
    results
}

async fn start_operator(
    settings: &Settings,
    binary: &Path,
    cluster: &Cluster,
    receiver: &OtlpReceiver,
) -> Operator {
    let (workers, endpoint) = (settings.workers.to_string(), receiver.endpoint());
    let mut env = vec![
        ("ELPIO_METRICS", "on"),
        ("ELPIO_METRICS_ADDR", "127.0.0.1"),
        ("ELPIO_ENGINE", "knative"),
        ("ELPIO_CONCURRENCY", workers.as_str()),
    ];
    if settings.push {
        env.push(("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()));
    }
    let mut operator = Operator::spawn(binary, &cluster.kubeconfig_for(USER), &env);
    operator.wait_ready().await;
    operator
}
