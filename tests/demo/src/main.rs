//! `cargo demo`: starts control plane, engines, backends and the operator in a network namespace, applies the
//! samples, and shows on the terminal what happens to them. Everything that it starts ends with it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a command line program: a failure ends it, with the reason"
)]

mod alert;
mod backends;
mod components;
mod edit;
mod environment;
mod options;
mod panels;
mod pictures;
mod rollout_trace;
mod summary;
mod table;
mod terminal;
mod text;
mod watch;

use std::{cell::Cell, panic::AssertUnwindSafe, path::PathBuf, process::ExitCode};

use elpio_cluster::{Engine, netns, netns_child, port_forward::PortForwards, samples};
use environment::Environment;
use futures::FutureExt as _;
use kube::Client;
use options::Options;
use rollout_trace::Trace;
use table::State;
use terminal::{Terminal, Tone};
use tokio::signal::unix::{SignalKind, signal};
use watch::Watch;

/// The engines that run where network namespaces are available.
const ENGINES: [Engine; 4] = Engine::ALL;
/// Set inside the network namespace: the operator's binary, which was built outside.
const OPERATOR_BINARY: &str = "ELPIO_DEMO_OPERATOR";

fn main() -> ExitCode {
    let options = Options::parse();
    let terminal = Terminal::open();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be built");
    let result = runtime.block_on(async {
        match netns_child::attach().map_err(|error| error.to_string())? {
            Some(forwards) => {
                let operator = std::env::var_os(OPERATOR_BINARY)
                    .map(PathBuf::from)
                    .ok_or(format!("{OPERATOR_BINARY} is not set"))?;
                Ok(run(&terminal, &options, &ENGINES, forwards, operator).await)
            }
            None => run_outside(&terminal, &options).await,
        }
    });
    result.unwrap_or_else(|reason: String| {
        terminal.failure(&reason);
        ExitCode::FAILURE
    })
}

/// Builds what is missing, and runs the demo inside a network namespace, or with fake engines here.
async fn run_outside(terminal: &Terminal, options: &Options) -> Result<ExitCode, String> {
    let unavailable = netns::check_available().err().map(|error| error.to_string());
    let use_fakes = options.fake_engines || unavailable.is_some();
    let engines_text = if use_fakes { "fake engines" } else { "real engines" };
    terminal.print(&format!(
        "\n{}  {}\n",
        terminal.paint(Tone::Strong, "Elpio"),
        terminal.paint(Tone::Dim, format!("a real control plane, {engines_text}, and the operator"))
    ));
    let engines: &[Engine] = if use_fakes { &[] } else { &ENGINES };
    let operator = components::build(terminal, options, engines).await?;
    if use_fakes {
        let reason = unavailable.unwrap_or_else(|| "--fake-engines".to_owned());
        let text = format!("Knative, Tekton and KEDA do not run: fakes write their status. {reason}");
        terminal.note("fake engines", &text);
        return Ok(run(terminal, options, engines, PortForwards::none(), operator).await);
    }
    netns_child::run(&[(OPERATOR_BINARY, operator.display().to_string())])
        .await
        .map_err(|error| error.to_string())
}

/// Runs the demo until it is over or a signal arrives. Dropping it ends everything that it started.
async fn run(
    terminal: &Terminal,
    options: &Options,
    engines: &[Engine],
    forwards: PortForwards,
    operator: PathBuf,
) -> ExitCode {
    let is_kept = Cell::new(false);
    let demo = AssertUnwindSafe(Box::pin(demo(terminal, options, engines, forwards, operator, &is_kept)))
        .catch_unwind();
    let code = tokio::select! {
        result = demo => {
            terminal.abandon();
            return match result {
                Ok(Ok(())) => ExitCode::SUCCESS,
                Ok(Err(reason)) => {
                    terminal.failure(&reason);
                    ExitCode::FAILURE
                }
                // The panic hook has printed the reason.
                Err(_) => ExitCode::FAILURE,
            };
        }
        code = wait_for_signal() => code,
    };
    terminal.abandon();
    terminal.print("\nStopped. All processes have ended.");
    // Ctrl-C is the regular end of --keep.
    ExitCode::from(if is_kept.get() && code == 130 { 0 } else { code })
}

/// Returns the exit code that a shell uses for the signal.
async fn wait_for_signal() -> u8 {
    let listen = |kind| signal(kind).expect("signals can be handled");
    let (mut interrupt, mut terminate, mut hang_up) =
        (listen(SignalKind::interrupt()), listen(SignalKind::terminate()), listen(SignalKind::hangup()));
    tokio::select! {
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
        _ = hang_up.recv() => 129,
    }
}

async fn demo(
    terminal: &Terminal,
    options: &Options,
    engines: &[Engine],
    forwards: PortForwards,
    operator: PathBuf,
    is_kept: &Cell<bool>,
) -> Result<(), String> {
    let environment = Environment::start(terminal, options, engines, forwards, &operator).await?;
    let (samples, failing) = environment::read_objects()?;
    let directories = (samples::SAMPLES_DIR, environment::OBJECTS_DIR);
    terminal.heading(&format!("kubectl apply -f {} -f {}", directories.0, directories.1));
    let client = environment.cluster.client().await;
    let mut watch = Watch::start(&client, terminal, watch::expected_states(&samples, &failing)).await?;
    // Concurrently, so that the first seconds are shown too.
    let apply = async {
        samples::apply(&client, "default", &failing).await?;
        samples::apply(&client, "default", &samples).await
    };
    let settle = async {
        watch
            .run_until_settled()
            .await
            .map_err(|reason| format!("{reason}\n{}", environment.operator.log_tail()))
    };
    tokio::try_join!(apply, settle)?;

    let functions = watch.objects("ElpioFunction", State::Ready);
    let has_tekton = options.backends && engines.contains(&Engine::Tekton);
    let trace = Trace::read(&environment.backends, &functions, has_tekton).await?;
    rollout_trace::show(terminal, &trace, environment.backends.trace_source());
    show_telemetry(terminal, options, &environment, &client, &watch, &trace).await?;
    summary::show_addresses(terminal, &environment, &trace.id, options.keep);
    if options.keep {
        is_kept.set(true);
        watch.run().await;
    }
    Ok(())
}

/// Panels, alert, exemplar and pictures; or a few metrics if there is no Prometheus.
async fn show_telemetry(
    terminal: &Terminal,
    options: &Options,
    environment: &Environment,
    client: &Client,
    watch: &Watch<'_>,
    trace: &Trace,
) -> Result<(), String> {
    let Some(prometheus) = environment.backends.prometheus() else {
        summary::show_metrics(terminal, &environment.operator).await;
        return Ok(());
    };
    terminal.print("");
    terminal.step("edits", edit::apply(client, watch, prometheus)).await?;
    let services = watch.objects("ElpioService", State::Ready);
    let functions = watch.objects("ElpioFunction", State::Ready);
    panels::show(terminal, prometheus, services.len() + functions.len()).await?;
    alert::show(terminal, prometheus).await;
    rollout_trace::show_exemplar(terminal, &environment.backends).await;
    if let Some(dir) = &options.pictures {
        let names = samples::names(&samples::read()?, "ElpioService");
        terminal.step("load", pictures::generate_load(client, &names)).await?;
        pictures::write(terminal, dir, trace, prometheus, environment.operator_started.elapsed()).await?;
    }
    Ok(())
}
