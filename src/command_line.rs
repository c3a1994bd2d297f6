//! Shared by the interactive commands: options, colours, a runtime, and one-line errors. It knows no command.

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Arg, ArgMatches, value_parser};

use crate::{
    cluster::client::open::ClusterChoice,
    terminal::{ColorChoice, Palette, printable},
};

/// An error that is printed in one line.
pub type LineError = Box<dyn std::error::Error + Send + Sync>;

/// An option with a value.
#[must_use]
pub fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

/// `--kubeconfig` and `--context`.
#[must_use]
pub fn cluster_options() -> [Arg; 2] {
    [
        option("kubeconfig", "FILE", "The kubeconfig to use").value_parser(value_parser!(PathBuf)),
        option("context", "NAME", "The context of the kubeconfig"),
    ]
}

/// The cluster that these options select.
#[must_use]
pub fn cluster_choice(matches: &ArgMatches) -> ClusterChoice {
    ClusterChoice {
        kubeconfig: matches.get_one::<PathBuf>("kubeconfig").cloned(),
        context: matches.get_one::<String>("context").cloned(),
    }
}

/// `--output`: one of two formats; the first is the default.
#[must_use]
pub fn output_option(help: &'static str, words: [&'static str; 2]) -> Arg {
    option("output", "FORMAT", help).short('o').value_parser(words).default_value(words[0])
}

/// `--color`.
#[must_use]
pub fn color_option() -> Arg {
    option("color", "WHEN", "When to use colors").value_parser(ColorChoice::WORDS).default_value("auto")
}

/// The palette for stdout.
#[must_use]
pub fn palette(matches: &ArgMatches) -> Palette {
    let word = matches.get_one::<String>("color").map(String::as_str).unwrap_or_default();
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    ColorChoice::parse(word).palette(std::io::stdout().is_terminal(), no_color)
}

/// Writes one line to stderr, prefixed with `program`.
pub fn print_line(program: &str, line: &str) {
    let _ = writeln!(std::io::stderr(), "{program}: {}", printable(line));
}

/// Runs a command to completion, and prints an error as one line.
///
/// # Errors
/// The exit code for an error.
pub fn run<T>(program: &str, command: impl Future<Output = Result<T, LineError>>) -> Result<T, ExitCode> {
    let result = || -> Result<T, LineError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let result = runtime.block_on(command);
        runtime.shutdown_background();
        result
    };
    result().map_err(|error| {
        print_line(program, &error.to_string());
        ExitCode::FAILURE
    })
}
