//! The command line of `kubectl elpio`: `trace`, `status`, `events`. It reads arguments, prints, and chooses
//! the exit code.

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use jiff::Timestamp;

use crate::{
    cluster::client::open::{ClusterChoice, open},
    plugin::{
        argument::ObjectArgument,
        backend::TraceBackend,
        draw::draw,
        fetch::Reader,
        overview::{event_lines, event_table, status_line, status_table},
        story_builder::{is_observed, story},
        values::text,
    },
    terminal::{ColorChoice, Palette, printable},
};

/// How often a live view reads again.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// Clears the screen, and what was scrolled off it.
const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J";

type LineError = Box<dyn std::error::Error + Send + Sync>;

/// The three commands, for the program's help.
#[must_use]
pub fn commands() -> [Command; 3] {
    let object = |required: bool| {
        Arg::new("object")
            .value_name("NAME")
            .help("NAME, service/NAME or function/NAME")
            .required(required)
            .value_parser(ObjectArgument::parse)
    };
    let trace = Command::new("trace")
        .about("Tell the story of an object's last rollout: children, waits, Events, the longest part")
        .arg(object(true))
        .args([
            option("jaeger", "URL", "Add the spans of the trace from Jaeger's query API"),
            option("tempo", "URL", "Add the spans of the trace from Tempo's query API")
                .conflicts_with("jaeger"),
        ]);
    let status =
        Command::new("status").about("List objects with state, reason, time and URL").arg(object(false));
    let events = Command::new("events").about("List Elpio's Events, the last one last").arg(object(false));
    let all = || {
        let help = "In all namespaces";
        Arg::new("all").long("all-namespaces").short('A').help(help).action(ArgAction::SetTrue)
    };
    [trace, status.arg(all()), events.arg(all())].map(|command| command.args(common()))
}

fn common() -> [Arg; 6] {
    [
        option("namespace", "NAME", "The namespace [default: the kubeconfig's]").short('n'),
        option("kubeconfig", "FILE", "The kubeconfig to use").value_parser(value_parser!(PathBuf)),
        option("context", "NAME", "The context of the kubeconfig"),
        option("output", "FORMAT", "text or json")
            .short('o')
            .value_parser(["text", "json"])
            .default_value("text"),
        option("color", "WHEN", "auto, always or never")
            .value_parser(ColorChoice::WORDS)
            .default_value("auto"),
        Arg::new("watch")
            .long("watch")
            .short('w')
            .help("Show it again when it changes; `trace` ends with the rollout")
            .action(ArgAction::SetTrue),
    ]
}

fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

/// What was asked for.
struct View {
    command: String,
    object: Option<ObjectArgument>,
    backend: Option<TraceBackend>,
    palette: Palette,
    is_json: bool,
    is_terminal: bool,
    watch: bool,
}

/// Runs one of [`commands`]; `program` opens each line of error.
#[must_use]
pub fn main(program: &str, command: &str, matches: &ArgMatches) -> ExitCode {
    let run = || -> Result<(), LineError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let ended = runtime.block_on(show(command, matches));
        runtime.shutdown_background();
        ended
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{program}: {}", printable(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

async fn show(command: &str, matches: &ArgMatches) -> Result<(), LineError> {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let kubeconfig = matches.get_one::<PathBuf>("kubeconfig").cloned();
    let opened = open(&ClusterChoice { kubeconfig, context: text("context") }).await?;
    let namespace = text("namespace").unwrap_or(opened.config.default_namespace);
    let is_all = command != "trace" && matches.get_flag("all");
    let reader = Reader::new(opened.client, (!is_all).then_some(namespace));
    let is_terminal = std::io::stdout().is_terminal();
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let of_trace = |name: &str| (command == "trace").then(|| text(name)).flatten();
    let view = View {
        command: command.to_owned(),
        object: matches.get_one::<ObjectArgument>("object").cloned(),
        backend: of_trace("jaeger")
            .map(TraceBackend::Jaeger)
            .or_else(|| of_trace("tempo").map(TraceBackend::Tempo)),
        palette: ColorChoice::parse(&text("color").unwrap_or_default()).palette(is_terminal, no_color),
        is_json: text("output").as_deref() == Some("json"),
        is_terminal,
        watch: matches.get_flag("watch"),
    };
    let mut last = String::new();
    loop {
        let (printed, is_over) = view.render(&reader).await?;
        if printed != last {
            let clear = if view.watch && view.is_terminal && !view.is_json { CLEAR } else { "" };
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(clear.as_bytes())?;
            stdout.write_all(printed.as_bytes())?;
            stdout.flush()?;
            last = printed;
        }
        if is_over || !view.watch {
            return Ok(());
        }
        tokio::time::sleep(WATCH_INTERVAL).await;
    }
}

impl View {
    /// What to print, and whether nothing more will come.
    async fn render(&self, reader: &Reader) -> Result<(String, bool), LineError> {
        match (self.command.as_str(), &self.object) {
            ("trace", Some(object)) => self.trace(reader, object).await,
            ("events", object) => Ok((self.events(reader, object.as_ref()).await?, false)),
            (_, object) => Ok((self.status(reader, object.as_ref()).await?, false)),
        }
    }

    async fn trace(&self, reader: &Reader, object: &ObjectArgument) -> Result<(String, bool), LineError> {
        let mut inputs = reader.story_inputs(object).await?;
        let trace_id = text(&inputs.object, "/status/rollout/traceId").to_owned();
        if let Some(backend) = self.backend.as_ref().filter(|_| !trace_id.is_empty()) {
            inputs.link = backend.link(&trace_id);
            inputs.spans = Some(backend.spans(&trace_id).await?);
        }
        let now = Timestamp::now();
        let story = story(&inputs, now);
        // Until the newest edit is observed, the rollout is the one before.
        let is_over = story.outcome != "Running" && is_observed(&inputs.object);
        if self.is_json {
            return Ok((serde_json::to_string_pretty(&story)? + "\n", is_over));
        }
        Ok((draw(&story, self.palette), is_over))
    }

    async fn status(&self, reader: &Reader, object: Option<&ObjectArgument>) -> Result<String, LineError> {
        let objects = match object {
            Some(object) => vec![reader.find(object).await?.1],
            None => reader.all().await?,
        };
        let lines: Vec<_> = objects.iter().map(|object| status_line(object, Timestamp::now())).collect();
        if self.is_json {
            return Ok(serde_json::to_string_pretty(&lines)? + "\n");
        }
        Ok(status_table(&lines, object.is_some(), self.palette))
    }

    async fn events(&self, reader: &Reader, object: Option<&ObjectArgument>) -> Result<String, LineError> {
        let events = match object {
            Some(object) => {
                let (_, found) = reader.find(object).await?;
                reader.events_of(text(&found, "/metadata/uid")).await?
            }
            None => reader.all_events().await?,
        };
        let lines = event_lines(&events);
        if self.is_json {
            return Ok(serde_json::to_string_pretty(&lines)? + "\n");
        }
        Ok(event_table(&lines, Timestamp::now(), self.palette))
    }
}
