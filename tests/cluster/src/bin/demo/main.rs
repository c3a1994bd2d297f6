//! `cargo demo`: control plane, engines, backends and the operator in a network of their own, the samples,
//! and what becomes of them; told on the terminal. It starts everything that it shows, and ends all of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a program for the terminal: what goes wrong ends it, with the reason"
)]

mod alarm;
mod backends;
mod edit;
mod ending;
mod ground;
mod options;
mod panels;
mod pictures;
mod preparation;
mod screen;
mod story;
mod table;
mod terminal;
mod trace;

use std::{cell::Cell, panic::AssertUnwindSafe, path::PathBuf, process::ExitCode};

use elpio_cluster::{Engine, forward::Doors, guardian, netns, samples};
use futures::FutureExt as _;
use ground::Ground;
use options::Options;
use story::Story;
use table::State;
use terminal::{Terminal, Tone};
use tokio::signal::unix::{SignalKind, signal};
use trace::Trace;

/// What runs, where there are namespaces.
const ENGINES: [Engine; 4] = Engine::ALL;
/// Set for what runs inside: the operator that was built outside.
const OPERATOR: &str = "ELPIO_DEMO_OPERATOR";

fn main() -> ExitCode {
    let options = Options::read();
    let terminal = Terminal::open();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let ended = runtime.block_on(async {
        match guardian::inside().map_err(|error| error.to_string())? {
            Some(doors) => {
                let operator = std::env::var_os(OPERATOR)
                    .map(PathBuf::from)
                    .ok_or("the demo inside was started by hand")?;
                Ok(show(&terminal, &options, &ENGINES, doors, operator).await)
            }
            None => outside(&terminal, &options).await,
        }
    });
    ended.unwrap_or_else(|why: String| {
        terminal.line(&terminal.paint(Tone::Bad, why));
        ExitCode::FAILURE
    })
}

/// Builds what is not there, and goes on inside.
async fn outside(terminal: &Terminal, options: &Options) -> Result<ExitCode, String> {
    let refused = netns::allowed().err().map(|error| error.to_string());
    let stand_in = options.stand_in || refused.is_some();
    let players = if stand_in { "a stand-in for the engines" } else { "the engines' own controllers" };
    terminal.put(&format!(
        "\n{}  {}\n",
        terminal.paint(Tone::Strong, "Elpio"),
        terminal.paint(Tone::Dim, format!("a real control plane, {players}, and the operator"))
    ));
    let engines: &[Engine] = if stand_in { &[] } else { &ENGINES };
    let operator = preparation::prepare(terminal, options, engines).await?;
    if stand_in {
        let why = refused.unwrap_or_else(|| "--stand-in".to_owned());
        terminal.note(
            "no engines",
            "no Knative, Tekton or KEDA runs here: a stand-in writes the status that they would.",
        );
        why.lines().flat_map(|line| screen::wrapped(line, 89)).for_each(|line| terminal.note("", &line));
        return Ok(show(terminal, options, engines, Doors::none(), operator).await);
    }
    guardian::stay_outside(&[(OPERATOR, operator.display().to_string())])
        .await
        .map_err(|error| error.to_string())
}

/// Everything that is shown, until it is over or somebody ends it. Then what it holds is dropped, and
/// everything that it started ends.
async fn show(
    terminal: &Terminal,
    options: &Options,
    engines: &[Engine],
    doors: Doors,
    operator: PathBuf,
) -> ExitCode {
    let kept = Cell::new(false);
    let told =
        AssertUnwindSafe(Box::pin(demo(terminal, options, engines, doors, operator, &kept))).catch_unwind();
    let code = tokio::select! {
        ended = told => match ended {
            Ok(Ok(())) => return ExitCode::SUCCESS,
            Ok(Err(why)) => {
                terminal.leave();
                terminal.line(&terminal.paint(Tone::Bad, format!("✗ {why}")));
                return ExitCode::FAILURE;
            }
            // The hook has said why.
            Err(_) => return ExitCode::FAILURE,
        },
        code = ended_by_signal() => code,
        never = terminal.follow_size() => match never {},
    };
    terminal.leave();
    terminal.put("\nStopped; everything that was started has ended.");
    // That is how it is meant to end then.
    ExitCode::from(if kept.get() && code == 130 { 0 } else { code })
}

/// A shell's code for the signal that came.
async fn ended_by_signal() -> u8 {
    let listen = |kind| signal(kind).expect("a signal can be listened to");
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
    doors: Doors,
    operator: PathBuf,
    kept: &Cell<bool>,
) -> Result<(), String> {
    let ground = Ground::start(terminal, options, engines, doors, &operator).await?;
    let (ready, failing) = ground::objects()?;
    terminal.heading(&format!("kubectl apply -f {} -f {}", samples::FOLDER, ground::OBJECTS));
    let client = ground.cluster.client().await;
    let mut story = Story::begin(&client, terminal, story::expected(&ready, &failing)).await?;
    // Told while it is applied: else the first seconds would be over before the clock starts.
    let apply = async {
        samples::apply(&client, "default", &failing).await?;
        samples::apply(&client, "default", &ready).await
    };
    let tell =
        async { story.until_settled().await.map_err(|why| format!("{why}\n{}", ground.operator.log_end())) };
    tokio::try_join!(apply, tell)?;

    let trace = Trace::read(
        &ground.backends,
        &story.of("ElpioFunction", State::Ready),
        options.backends && engines.contains(&Engine::Tekton),
    )
    .await?;
    trace::show(terminal, &trace, ground.backends.reader());
    if let Some(prometheus) = ground.backends.prometheus() {
        let (functions, services) =
            (story.of("ElpioFunction", State::Ready), story.of("ElpioService", State::Ready));
        terminal.put("");
        terminal
            .step(
                "edits",
                edit::all(
                    &client,
                    &functions,
                    &story.of("ElpioFunction", State::Failed),
                    &services,
                    prometheus,
                ),
            )
            .await?;
        panels::show(terminal, prometheus, services.len() + functions.len()).await?;
        alarm::show(terminal, prometheus).await;
        ending::exemplar(terminal, &ground.backends).await;
        if let Some(folder) = &options.pictures {
            terminal
                .step("some life", pictures::live(&client, &samples::names(&ready, "ElpioService")))
                .await?;
            pictures::write(terminal, folder, &trace, prometheus, ground.since.elapsed()).await?;
        }
    } else {
        ending::metrics(terminal, &ground.operator).await;
    }
    ending::addresses(terminal, &ground, &trace.id, options.keep);
    if options.keep {
        kept.set(true);
        story.go_on().await;
    }
    Ok(())
}
