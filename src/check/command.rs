//! The command line of `check`: reads arguments and environment, prints the rows, and chooses the exit code.

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{Arg, ArgMatches, Command, value_parser};

use crate::{
    check::{CheckError, CheckOptions, check, report},
    cluster::client::open::ClusterChoice,
    config::ProcessConfig,
    terminal::{ColorChoice, printable},
};

/// `check`, for the program's help.
#[must_use]
pub fn command() -> Command {
    Command::new("check")
        .about("Check the cluster, the CRDs, the engines, the rights, the Lease and the OTLP endpoint")
        .args([
            option("kubeconfig", "FILE", "The kubeconfig to use").value_parser(value_parser!(PathBuf)),
            option("context", "NAME", "The context of the kubeconfig"),
            option("namespace", "NAME", "The operator's namespace [default: POD_NAMESPACE, else elpio-system]")
                .short('n'),
            option("wait", "SECONDS", "Try again for so long while something is in error")
                .value_parser(value_parser!(u64))
                .default_value("0"),
            option("output", "FORMAT", "table or json")
                .short('o')
                .value_parser(["table", "json"])
                .default_value("table"),
            Arg::new("json").long("json").help("As --output json").action(clap::ArgAction::SetTrue),
            option("color", "WHEN", "auto, always or never")
                .value_parser(ColorChoice::WORDS)
                .default_value("auto"),
        ])
        .after_help(
            "It reads ELPIO_* and OTEL_* as `run` does, asks with the rights of whoever calls it, and changes \
             nothing. Exit code: 0, or 1 when something is in error.",
        )
}

fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

/// Checks, prints, and returns 1 when something is in error.
#[must_use]
pub fn main(matches: &ArgMatches) -> ExitCode {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let options = CheckOptions {
        cluster: ClusterChoice {
            kubeconfig: matches.get_one::<PathBuf>("kubeconfig").cloned(),
            context: text("context"),
        },
        namespace: text("namespace"),
        wait: Duration::from_secs(matches.get_one("wait").copied().unwrap_or_default()),
    };
    let config = ProcessConfig::from_process_env().map_err(CheckError::from);
    let checked = config.and_then(|config| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let rows = runtime.block_on(check(&options, &config));
        runtime.shutdown_background();
        rows
    });
    let rows = match checked {
        Ok(rows) => rows,
        Err(error) => {
            let line = printable(&error.to_string());
            let _ = writeln!(std::io::stderr(), "elpio-operator: {line}");
            return ExitCode::FAILURE;
        }
    };
    let stdout = std::io::stdout();
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let color = ColorChoice::parse(&text("color").unwrap_or_default());
    let is_json = matches.get_flag("json") || text("output").as_deref() == Some("json");
    let printed = if is_json {
        report::json(&rows)
    } else {
        report::table(&rows, color.palette(stdout.is_terminal(), no_color))
    };
    let written = stdout.lock().write_all(printed.as_bytes()).is_ok();
    if report::is_passed(&rows) && written { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
