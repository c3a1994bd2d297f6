//! The command line of `check`: parses arguments, reads the environment, prints the rows, and sets the exit code.

use std::{io::Write, process::ExitCode, time::Duration};

use clap::{Arg, ArgMatches, Command, value_parser};

use crate::{
    check::{CheckOptions, check, report},
    command_line::{cluster_choice, cluster_options, color_option, option, output_option, palette, run},
    config::ProcessConfig,
};

/// The `check` subcommand.
#[must_use]
pub fn command() -> Command {
    Command::new("check")
        .about("Check the cluster, the CRDs, the engines, the permissions, the Lease, the policies, the OTLP endpoint")
        .args(cluster_options())
        .args([
            option(
                "namespace",
                "NAME",
                "The operator's namespace [default: POD_NAMESPACE, else elpio-system]",
            )
            .short('n'),
            option("wait", "SECONDS", "Retry for this many seconds until every check passes")
                .value_parser(value_parser!(u64))
                .default_value("0"),
            output_option("Output format", ["table", "json"]),
            Arg::new("json").long("json").help("Same as --output json").action(clap::ArgAction::SetTrue),
            color_option(),
        ])
        .after_help(
            "It reads ELPIO_* and OTEL_* as `run` does, uses the caller's permissions, and changes \
             nothing. Exits with 1 if a check fails.",
        )
}

/// Runs the checks and prints the rows; exits with 1 if a check fails. `program` prefixes error lines.
#[must_use]
pub fn main(program: &str, matches: &ArgMatches) -> ExitCode {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let options = CheckOptions {
        cluster: cluster_choice(matches),
        namespace: text("namespace"),
        wait: Duration::from_secs(matches.get_one("wait").copied().unwrap_or_default()),
    };
    let checked = run(program, async {
        let config = ProcessConfig::from_process_env()?;
        check(&options, &config).await
    });
    let rows = match checked {
        Ok(rows) => rows,
        Err(code) => return code,
    };
    let is_json = matches.get_flag("json") || text("output").as_deref() == Some("json");
    let printed = if is_json { report::json(&rows) } else { report::table(&rows, palette(matches)) };
    let written = std::io::stdout().lock().write_all(printed.as_bytes()).is_ok();
    if report::is_passed(&rows) && written { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
