//! The command line of `kubectl elpio`: `trace`, `status`, `events`. It parses arguments, prints, and sets
//! the exit code.

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use clap::{Arg, ArgAction, ArgMatches, Command};
use jiff::Timestamp;

use crate::{
    cluster::client::open::open,
    command_line::{
        LineError, cluster_choice, cluster_options, color_option, option, output_option, palette, print_line,
        run,
    },
    foreign::fields::text,
    plugin::{
        argument::ObjectArgument,
        backend::TraceBackend,
        draw::draw,
        fetch::{FetchError, Reader},
        overview::{event_lines, event_table, status_line, status_table},
        timeline_builder::{is_observed, timeline},
    },
    terminal::Palette,
};

/// The refresh interval of a live view.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// Clears the screen, but keeps the scrollback.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// The three subcommands.
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
        .about("Show an object's last rollout: children, waits, Events, the longest part")
        .arg(object(true))
        .args([
            option("jaeger", "URL", "Add the spans of the trace from Jaeger's query API"),
            option("tempo", "URL", "Add the spans of the trace from Tempo's query API")
                .conflicts_with("jaeger"),
        ]);
    let status =
        Command::new("status").about("List objects with state, reason, time and URL").arg(object(false));
    let events = Command::new("events").about("List Elpio's Events, oldest first").arg(object(false));
    let all = || {
        let help = "List the objects of all namespaces";
        Arg::new("all")
            .long("all-namespaces")
            .short('A')
            .help(help)
            .action(ArgAction::SetTrue)
            .conflicts_with("object")
    };
    let common = |command: Command| {
        let watch = "Watch for changes; `trace` exits when the rollout ends";
        command.args(cluster_options()).args([
            option("namespace", "NAME", "The namespace [default: the kubeconfig's]").short('n'),
            output_option("Output format", ["text", "json"]),
            color_option(),
            Arg::new("watch").long("watch").short('w').help(watch).action(ArgAction::SetTrue),
        ])
    };
    [trace, status.arg(all()), events.arg(all())].map(common)
}

/// The parsed command line.
struct View {
    command: String,
    object: Option<ObjectArgument>,
    backend: Option<TraceBackend>,
    palette: Palette,
    is_json: bool,
}

/// Runs one of [`commands`]; `program` prefixes error lines.
#[must_use]
pub fn main(program: &str, command: &str, matches: &ArgMatches) -> ExitCode {
    run(program, show(program, command, matches)).err().unwrap_or(ExitCode::SUCCESS)
}

async fn show(program: &str, command: &str, matches: &ArgMatches) -> Result<(), LineError> {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let opened = open(&cluster_choice(matches)).await?;
    let namespace = text("namespace").unwrap_or(opened.config.default_namespace);
    let is_all = command != "trace" && matches.get_flag("all");
    let reader = Reader::new(opened.client, (!is_all).then_some(namespace));
    let of_trace = |name: &str| (command == "trace").then(|| text(name)).flatten();
    let backend = match (of_trace("jaeger"), of_trace("tempo")) {
        (Some(url), _) => Some(TraceBackend::jaeger(&url)?),
        (None, Some(url)) => Some(TraceBackend::tempo(&url)?),
        (None, None) => None,
    };
    let view = View {
        command: command.to_owned(),
        object: matches.get_one::<ObjectArgument>("object").cloned(),
        backend,
        palette: palette(matches),
        is_json: text("output").as_deref() == Some("json"),
    };
    if matches.get_flag("watch") { view.follow(program, &reader).await } else { view.once(&reader).await }
}

impl View {
    async fn once(&self, reader: &Reader) -> Result<(), LineError> {
        let (printed, _) = self.render(reader).await?;
        write(&printed)
    }

    /// Prints each change until the rollout ends. After the first output, reports and retries a failed read;
    /// only a deleted object ends it.
    async fn follow(&self, program: &str, reader: &Reader) -> Result<(), LineError> {
        let clear = if std::io::stdout().is_terminal() && !self.is_json { CLEAR } else { "" };
        let (mut shown, mut failure) = (None, None);
        loop {
            match self.render(reader).await {
                Ok((printed, is_over)) => {
                    // On a terminal, clearing the screen removes the error line.
                    let is_hidden = failure.take().is_some() && !clear.is_empty();
                    if is_hidden || shown.as_ref() != Some(&printed) {
                        write(&format!("{clear}{printed}"))?;
                        shown = Some(printed);
                    }
                    if is_over {
                        return Ok(());
                    }
                }
                Err(error) if shown.is_none() || is_gone(&error) => return Err(error),
                Err(error) => {
                    let line = format!("{error}; retrying");
                    if failure.as_ref() != Some(&line) {
                        print_line(program, &line);
                        failure = Some(line);
                    }
                }
            }
            tokio::time::sleep(WATCH_INTERVAL).await;
        }
    }
}

fn is_gone(error: &LineError) -> bool {
    matches!(error.downcast_ref(), Some(FetchError::NoObject { .. }))
}

fn write(text: &str) -> Result<(), LineError> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

impl View {
    /// The output, and whether it is final.
    async fn render(&self, reader: &Reader) -> Result<(String, bool), LineError> {
        match (self.command.as_str(), &self.object) {
            ("trace", Some(object)) => self.trace(reader, object).await,
            ("events", object) => Ok((self.events(reader, object.as_ref()).await?, false)),
            (_, object) => Ok((self.status(reader, object.as_ref()).await?, false)),
        }
    }

    async fn trace(&self, reader: &Reader, object: &ObjectArgument) -> Result<(String, bool), LineError> {
        let mut inputs = reader.timeline_inputs(object).await?;
        let trace_id = text(&inputs.object, "/status/rollout/traceId").to_owned();
        if let Some(backend) = self.backend.as_ref().filter(|_| !trace_id.is_empty()) {
            inputs.link = backend.link(&trace_id);
            inputs.spans = Some(backend.spans(&trace_id).await?);
        }
        let now = Timestamp::now();
        let timeline = timeline(&inputs, now);
        // Until the newest edit is observed, the status shows the previous rollout.
        let is_over = timeline.outcome != "Running" && is_observed(&inputs.object);
        if self.is_json {
            return Ok((serde_json::to_string_pretty(&timeline)? + "\n", is_over));
        }
        Ok((draw(&timeline, self.palette), is_over))
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
        if lines.is_empty() {
            return Ok(format!("no ElpioFunction or ElpioService {}\n", reader.scope_phrase()));
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
        if lines.is_empty() {
            let about = object.map_or_else(String::new, |object| format!(" about {}", object.name));
            return Ok(format!("no Elpio Events{about} {}\n", reader.scope_phrase()));
        }
        Ok(event_table(&lines, Timestamp::now(), self.palette))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_namespaces_are_not_asked_for_one_name() {
        let parse = |arguments: &[&str]| {
            let command = Command::new("elpio").subcommands(commands());
            command
                .try_get_matches_from([&["elpio"], arguments].concat())
                .map(drop)
                .map_err(|error| error.kind())
        };
        for command in ["status", "events"] {
            assert_eq!(parse(&[command, "-A"]), Ok(()));
            assert_eq!(parse(&[command, "web"]), Ok(()));
            assert_eq!(parse(&[command, "-A", "web"]), Err(clap::error::ErrorKind::ArgumentConflict));
        }
    }
}
