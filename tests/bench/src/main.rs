//! `cargo bench-operator`: times, requests, CPU and memory of the operator for many services at once, against a
//! real API server; with `--compare`: a bare client and a peer in Go beside it; with `--functions`, `--cycles`,
//! `--fairness`, `--instructions`, `--faults` and `--hostile`: what functions, deletions, others' floods,
//! telemetry, a faulty collector and objects of 1 MiB cost. It may measure from outside only: by watches, the
//! operator's metrics, `/proc`, valgrind and the audit log.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a command line program: a failure ends it, with the reason"
)]

mod compare;
mod contender;
mod cycles;
mod fairness;
mod faults;
mod functions;
mod hostile;
mod instructions;
mod load;
mod observations;
mod picture;
mod report;
mod requests;
mod results;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use compare::Measured;
use contender::Contender;
use elpio_cluster::{
    Cluster, ClusterOptions, Crds, FakeEngineOptions, FakeEngines, Operator, OtlpReceiver, cargo,
    process::stats,
};
use load::Load;
use observations::{Observation, Observations};
use report::Comparison;
use requests::Meter;
use results::Results;

/// The operator's user, by which the audit log distinguishes it from the benchmark.
const USER: &str = "elpio-test-0";

struct Settings {
    services: usize,
    idle: Duration,
    audit: bool,
    push: bool,
    dev: bool,
    workers: usize,
}

fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let number = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name).long(name).default_value(default).value_parser(value_parser!(u32)).help(help)
    };
    let optional = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("N").value_parser(value_parser!(u32).range(1..)).help(help)
    };
    let file = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("FILE").value_parser(value_parser!(PathBuf)).help(help)
    };
    Command::new("cargo bench-operator")
        .about("Measures the operator with many ElpioServices at once (fake Knative).")
        .arg(number("services", "200", "Number of services that are created, made ready and edited at once"))
        .arg(number("idle", "30", "Seconds of idle time in which requests are counted"))
        .arg(number("workers", "16", "ELPIO_CONCURRENCY of the operator"))
        .arg(flag("audit", "Compare the operator's count of requests with the API server's audit log"))
        .arg(flag("push", "Push traces, metrics and logs by OTLP too, and sample every reconcile"))
        .arg(file("binary", "Measure this binary instead of building one"))
        .arg(flag(
            "faults",
            "Compare reconcile durations with a faulty and a healthy collector, instead of all the above",
        ))
        .arg(flag(
            "hostile",
            "Measure beside 800 objects of 1 MiB of another namespace, instead of all the above",
        ))
        .arg(optional("functions", "Measure so many functions with their runs and tasks (fake Tekton), instead of all the above"))
        .arg(optional("cycles", "Measure what so many creations and deletions leave in memory (half an hour), instead of all the above"))
        .arg(flag("compare", "Measure a bare client and a peer in Go too, by the same load; prints ratios"))
        .arg(flag(
            "fairness",
            "Measure what a flood, a hanging webhook and failing objects cost another namespace, instead of all the above",
        ))
        .arg(flag(
            "instructions",
            "Count what metrics and traces cost in instructions (needs valgrind), instead of all the above",
        ))
        .arg(file("json", "With --compare: write what was measured to this file"))
        .arg(file("picture", "With --compare: draw the distributions (SVG) to this file"))
        .arg(optional(
            "rounds",
            "With --compare: how often all contenders take their turn (default 1); with --faults: how often each fault is injected at each of two operators (default 6)",
        ))
        .arg(flag("dev", "Measure a development build (for work on the benchmark itself)"))
}

fn main() -> ExitCode {
    let arguments = command().get_matches();
    let number = |name: &str| *arguments.get_one::<u32>(name).expect("has a default") as usize;
    let settings = Settings {
        services: number("services"),
        idle: Duration::from_secs(number("idle") as u64),
        audit: arguments.get_flag("audit"),
        push: arguments.get_flag("push"),
        dev: arguments.get_flag("dev"),
        workers: number("workers"),
    };
    let binary = arguments.get_one::<PathBuf>("binary").cloned();
    let binary = match binary.map_or_else(|| cargo::build_operator(!settings.dev), Ok) {
        Ok(binary) => binary,
        Err(reason) => {
            eprintln!("{reason}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        tokio::select! {
            passed = measure_asked(&arguments, &settings, &binary) => {
                if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
            }
            _ = tokio::signal::ctrl_c() => ExitCode::from(130),
        }
    })
}

/// Measures what the arguments ask for. Returns whether it is within its bounds.
async fn measure_asked(arguments: &ArgMatches, settings: &Settings, binary: &Path) -> bool {
    let number = |name: &str| arguments.get_one::<u32>(name).map(|number| *number as usize);
    let is_set = |name: &str| arguments.get_flag(name);
    if let Some(functions) = number("functions") {
        return Box::pin(functions::measure(binary, functions, settings.workers)).await;
    }
    if let Some(cycles) = number("cycles") {
        return Box::pin(cycles::measure(binary, cycles, settings.workers)).await;
    }
    if is_set("fairness") {
        return Box::pin(fairness::measure(binary, settings.services, settings.workers)).await;
    }
    if is_set("instructions") {
        return Box::pin(instructions::measure(binary, settings.services)).await;
    }
    if is_set("faults") {
        return Box::pin(faults::compare(number("rounds").unwrap_or(6), binary)).await;
    }
    if is_set("hostile") {
        return Box::pin(hostile::measure(binary)).await;
    }
    if is_set("compare") {
        let file = |name: &str| arguments.get_one::<PathBuf>(name).cloned();
        let output = Output { json: file("json"), picture: file("picture") };
        Box::pin(compare(settings, number("rounds").unwrap_or(1), binary, &output)).await;
    } else {
        Box::pin(measure(settings, binary)).await.print();
    }
    true
}

/// Where a comparison is written to.
struct Output {
    json: Option<PathBuf>,
    picture: Option<PathBuf>,
}

/// Measures everybody in turns, and writes the results.
async fn compare(settings: &Settings, rounds: usize, binary: &Path, output: &Output) {
    contender::build_peer();
    let mut all = Contender::ALL.map(|who| (who, Vec::new()));
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds} …");
        for (who, measured) in &mut all {
            measured.push(compare::measure(*who, settings.services, settings.workers, binary).await);
        }
    }
    let comparison = Comparison {
        services: settings.services,
        workers: settings.workers,
        rounds,
        profile: (if settings.dev { "development build" } else { "release build" }).to_owned(),
        all: all.into_iter().map(|(who, rounds)| (who, Measured::pool(rounds))).collect(),
    };
    comparison.print();
    let write = |path: &Path, text: String| {
        std::fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    };
    if let Some(path) = &output.json {
        write(path, format!("{:#}\n", comparison.to_json()));
    }
    if let Some(path) = &output.picture {
        write(path, picture::draw(&comparison).expect("a picture"));
    }
}

/// The CRDs that the operator watches.
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
    let cluster =
        Cluster::start(ClusterOptions { crds: crds(), audit: settings.audit, ..ClusterOptions::default() })
            .await;
    let client = cluster.client().await;
    load::bind_cluster_admin(&client, USER).await;
    let namespace = cluster.namespace("bench").await;
    let receiver = OtlpReceiver::start().await;
    let operator = start_operator(settings, binary, &cluster, &receiver).await;
    let engine = FakeEngines::start(
        client.clone(),
        FakeEngineOptions { namespace: Some(namespace.clone()), ..FakeEngineOptions::default() },
    );
    engine.hold();
    let observations = Observations::start(&client, &namespace).await;
    let load = Load { client, namespace, services: settings.services };
    let n = settings.services;

    let mut meter = Meter::new(&operator, &cluster, settings.audit).await;
    let mut results = Results::new(n, settings.workers, settings.push, settings.dev);
    results.rss_start = operator.rss();

    eprintln!("creating {n} services …");
    let (sent, answered) = load.create().await;
    let child = observations.wait_for_all(Observation::Child, n).await;
    results.add_times("create → child", &sent, &child);
    results.add_times("  from the create's response", &answered, &child);
    results.add_phase("create", meter.end_phase().await);

    eprintln!("marking their children ready …");
    engine.release();
    let child_ready = observations.wait_for_all(Observation::ChildReady(1), n).await;
    let ready = observations.wait_for_all(Observation::Ready(1), n).await;
    results.add_times("child ready → Ready", &child_ready, &ready);
    results.add_phase("ready", meter.end_phase().await);

    // Real engines take seconds: no child becomes ready before all edits have been sent.
    engine.hold();
    eprintln!("editing them …");
    let (sent, answered) = load.edit().await;
    let edited = observations.wait_for_all(Observation::ChildEdited, n).await;
    results.add_times("edit → child", &sent, &edited);
    results.add_times("  from the edit's response", &answered, &edited);
    results.add_phase("edit", meter.end_phase().await);

    engine.release();
    observations.wait_for_all(Observation::Ready(2), n).await;
    results.add_phase("again", meter.end_phase().await);

    eprintln!("idle for {:?} …", settings.idle);
    results.set_idle(settings.idle, meter.measure_idle(settings.idle).await);
    results.rss = operator.rss();
    results.rss_peak = stats::peak_rss(operator.pid());
    results
}

async fn start_operator(
    settings: &Settings,
    binary: &Path,
    cluster: &Cluster,
    receiver: &OtlpReceiver,
) -> Operator {
    let endpoint = receiver.endpoint();
    let push = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())];
    let more = if settings.push { &push[..] } else { &[] };
    let mut operator = contender::spawn_operator(binary, cluster, settings.workers, more);
    operator.wait_ready().await;
    operator
}
