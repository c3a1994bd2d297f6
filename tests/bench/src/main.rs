//! `cargo bench-operator`: times, requests, CPU and memory of the operator for many services at once, against
//! a real API server; with `--compare`: a bare client and a peer in Go beside it; with `--functions`, `--fairness`,
//! `--faults` and `--hostile`: what functions, others' floods, a faulty collector and objects of 1 MiB cost. It may measure from outside only: by watches, the operator's metrics, `/proc` and the audit log.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a command line program: a failure ends it, with the reason"
)]

mod compare;
mod contender;
mod fairness;
mod faults;
mod functions;
mod hostile;
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

use clap::{Arg, ArgAction, Command, value_parser};
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
        .arg(
            Arg::new("functions")
                .long("functions")
                .value_name("N")
                .value_parser(value_parser!(u32))
                .help("Measure so many functions with their runs and tasks (fake Tekton), instead of all the above"),
        )
        .arg(flag("compare", "Measure a bare client and a peer in Go too, by the same load; prints ratios"))
        .arg(flag(
            "fairness",
            "Measure what a flood, a hanging webhook and failing objects cost another namespace, instead of all the above",
        ))
        .arg(file("json", "With --compare: write what was measured to this file"))
        .arg(file("picture", "With --compare: draw the distributions (SVG) to this file"))
        .arg(number(
            "rounds",
            "6",
            "With --faults: how often each fault is injected at each of two operators",
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
    let hostile = arguments.get_flag("hostile");
    let (faults, rounds) = (arguments.get_flag("faults"), number("rounds"));
    if arguments.get_flag("compare") {
        let output = Output {
            json: arguments.get_one::<PathBuf>("json").cloned(),
            picture: arguments.get_one::<PathBuf>("picture").cloned(),
        };
        return runtime.block_on(async {
            tokio::select! {
                () = compare(&settings, &binary, &output) => ExitCode::SUCCESS,
                _ = tokio::signal::ctrl_c() => ExitCode::from(130),
            }
        });
    }
    let fairness = arguments.get_flag("fairness");
    if let Some(functions) = arguments.get_one::<u32>("functions") {
        let passed = runtime.block_on(async {
            tokio::select! {
                passed = functions::measure(&binary, *functions as usize, settings.workers) => Some(passed),
                _ = tokio::signal::ctrl_c() => None,
            }
        });
        return passed.map_or(ExitCode::from(130), |passed| {
            if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        });
    }
    runtime.block_on(async {
        tokio::select! {
            passed = fairness::measure(&binary, settings.services), if fairness => if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE },
            passed = faults::compare(rounds, &binary), if faults => if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE },
            passed = hostile::measure(&binary), if hostile => if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE },
            results = measure(&settings, &binary), if !faults && !hostile && !fairness => {
                results.print();
                ExitCode::SUCCESS
            }
            _ = tokio::signal::ctrl_c() => ExitCode::from(130),
        }
    })
}

/// Where a comparison is written to.
struct Output {
    json: Option<PathBuf>,
    picture: Option<PathBuf>,
}

/// Measures everybody in turns, and writes the results.
async fn compare(settings: &Settings, binary: &Path, output: &Output) {
    contender::build_peer();
    let mut comparison = Comparison {
        services: settings.services,
        workers: settings.workers,
        profile: (if settings.dev { "development build" } else { "release build" }).to_owned(),
        all: Vec::new(),
    };
    for who in Contender::ALL {
        let measured = compare::measure(who, settings.services, settings.workers, binary).await;
        comparison.all.push((who, measured));
    }
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
