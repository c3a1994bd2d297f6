//! `cargo demo`: a real control plane, the operator, three sample services, and a stand-in for the engines; told on the terminal.
//! It starts everything that it shows, and ends all of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a program for the terminal: what goes wrong ends it, with the reason"
)]

mod backends;
mod ending;
mod story;
mod terminal;

use backends::Backends;
use clap::{Arg, ArgAction, Command};
use elpio_cluster::standin::Play;
use elpio_cluster::{Cluster, Crds, Operator, Options, StandInEngine, cargo, samples};
use std::process::ExitCode;
use std::time::Duration;
use terminal::Terminal;

const ABOUT: &str = "Shows Elpio at work on this machine: needs Rust and Go, no container and no cluster.";
const DETAILS: &str = "\
Builds the operator and, the first time, etcd, Kubernetes, the OpenTelemetry Collector, Jaeger and Prometheus (from Go modules: a quarter of
an hour; --no-backends halves it), starts them on loopback, applies the CRDs of the real projects and deploy/samples/*.yaml, and tells what
happens: the services becoming ready, their Events, one rollout's trace as Jaeger has it, the metrics, and what Prometheus answers.
No engine runs: a stand-in writes the status that Knative, KEDA, Tekton, cert-manager and External Secrets would.

KUBEBUILDER_ASSETS names a folder with etcd, kube-apiserver and kube-controller-manager to use instead of building them (also of otelcol,
jaeger and prometheus, where it has them).";

/// How long the stand-in takes for each step of each object: long enough to read, short enough to wait for.
const ENGINE_DELAY: Duration = Duration::from_millis(1500);

fn main() -> ExitCode {
    let arguments = Command::new("cargo demo")
        .about(ABOUT)
        .after_help(DETAILS)
        .arg(Arg::new("keep").long("keep").action(ArgAction::SetTrue).help("Leave it running, with a kubeconfig to use, until Ctrl-C"))
        .arg(
            Arg::new("no-backends")
                .long("no-backends")
                .action(ArgAction::SetTrue)
                .help("Without collector, Jaeger and Prometheus, which take minutes to build the first time"),
        )
        .get_matches();
    let (keep, real) = (arguments.get_flag("keep"), !arguments.get_flag("no-backends"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        tokio::select! {
            ended = demo(keep, real) => match ended {
                Ok(()) => ExitCode::SUCCESS,
                Err(reason) => {
                    eprintln!("\n{reason}");
                    ExitCode::FAILURE
                }
            },
            // What `demo` holds is dropped, and everything that it started ends.
            _ = tokio::signal::ctrl_c() => {
                eprintln!("\nStopped; everything that was started has ended.");
                ExitCode::from(if keep { 0 } else { 130 })
            }
        }
    })
}

async fn demo(keep: bool, real: bool) -> Result<(), String> {
    let terminal = Terminal::new();
    terminal.title("Elpio", "a real control plane, the operator, and a stand-in for the engines");

    let binary = terminal
        .step("operator built", async {
            let built = tokio::task::spawn_blocking(|| cargo::build_operator(false));
            built.await.expect("not cancelled").map(|path| (path.display().to_string(), path))
        })
        .await?;
    let cluster = terminal
        .step("control plane", async {
            let cluster = Cluster::start(Options { audit: false, ..Options::full() }).await;
            Ok((format!("etcd, kube-apiserver, kube-controller-manager and the CRDs of {} projects", Crds::ALL.len()), cluster))
        })
        .await?;
    let backends = terminal
        .step("backends", async {
            let backends = Backends::start(&cluster, real).await;
            Ok((backends.remark(), backends))
        })
        .await?;
    let operator = terminal
        .step("operator ready", async {
            let endpoint = backends.endpoint();
            let env = [
                ("ELPIO_METRICS", "on"),
                ("ELPIO_METRICS_ADDR", "127.0.0.1"),
                ("ELPIO_LOG_FORMAT", "pretty"),
                ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
                // Prometheus scrapes them here; pushed too, each would be there twice.
                ("OTEL_METRICS_EXPORTER", "none"),
                // The trace is to be shown at once.
                ("OTEL_BSP_SCHEDULE_DELAY", "200"),
            ];
            let mut operator = Operator::spawn(&binary, &cluster.kubeconfig(), &env);
            operator.wait_ready().await;
            backends.scrape(&operator).await;
            Ok((format!("pid {}, http://127.0.0.1:{}/metrics", operator.pid(), operator.metrics_port()), operator))
        })
        .await?;
    let client = cluster.client().await;
    let play = Play { namespace: None, delay: ENGINE_DELAY, pods: true, companions: true, builds: true, ..Play::default() };
    let _engine = StandInEngine::start(client.clone(), play);
    terminal
        .note("stand-in engine", "no Knative, KEDA or Tekton runs here: it writes the status that they would; nothing is built or served");

    let samples = samples::read()?;
    terminal.heading(&format!("kubectl apply -f {}", samples::FOLDER));
    let mut story = story::Story::begin(&client, &terminal, &samples).await?;
    samples::apply(&client, "default", &samples).await?;
    let services = story.until_ready().await.map_err(|reason| format!("{reason}\n{}", operator.log_end()))?;

    ending::table(&terminal, &services);
    let trace = ending::trace(&terminal, &backends, &services).await?;
    ending::metrics(&terminal, &operator).await;
    ending::queries(&terminal, &backends).await;
    // One of its own, not a function's, which would be put right again.
    let own = services.iter().find(|(_, service)| service.metadata.owner_references.is_none());
    let service = own.map_or("", |(name, _)| name.as_str());
    ending::addresses(&terminal, &cluster, &operator, service, backends.commands(&trace), keep);
    if keep {
        story.go_on().await;
    }
    Ok(())
}
