//! `elpio-operator`: parses the command line and dispatches; everything else is the library's.

use std::{io::Write, process::ExitCode};

use clap::Command;
use elpio_operator::{api, check, plugin, run};
use tikv_jemallocator::Jemalloc;

/// Returns the memory of a list or a burst of changes to the system, and is faster than the system's allocator.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// The name under which kubectl finds the program as a plugin.
const PLUGIN: &str = "kubectl-elpio";

const AFTER_HELP: &str = "Configured by environment variables, ELPIO_* and OTEL_*: see otel/README.md.\n\
    Uses the pod's service account in a cluster, otherwise the current kubeconfig.";

fn main() -> ExitCode {
    let name = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&name).file_stem().unwrap_or_default().to_owned();
    if name == PLUGIN { plugin_main() } else { operator_main() }
}

fn operator_main() -> ExitCode {
    let command = Command::new("elpio-operator")
        .version(run::LONG_VERSION)
        .about("Runs ElpioServices and ElpioFunctions on Knative or KEDA")
        .after_help(AFTER_HELP)
        .subcommand(Command::new("run").about("Run the operator (the default)"))
        .subcommand(
            Command::new("crds").about("Print the CustomResourceDefinitions as YAML, for kubectl apply -f -"),
        )
        .subcommand(check::command::command())
        .subcommands(plugin::command::commands());
    match command.get_matches().subcommand() {
        Some(("crds", _)) => crds(),
        Some(("check", matches)) => check::command::main("elpio-operator", matches),
        Some((name @ ("trace" | "status" | "events"), matches)) => {
            plugin::command::main("elpio-operator", name, matches)
        }
        _ => run::main(),
    }
}

/// `kubectl elpio`: only the interactive commands.
fn plugin_main() -> ExitCode {
    let command = Command::new("kubectl elpio")
        .bin_name("kubectl elpio")
        .version(run::LONG_VERSION)
        .about("Show what Elpio does in a cluster: rollouts, states, Events")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(check::command::command())
        .subcommands(plugin::command::commands());
    match command.get_matches().subcommand() {
        Some(("check", matches)) => check::command::main("kubectl elpio", matches),
        Some((name, matches)) => plugin::command::main("kubectl elpio", name, matches),
        None => ExitCode::FAILURE,
    }
}

fn crds() -> ExitCode {
    let yaml: Result<Vec<String>, _> = api::crds().iter().map(|(_, crd)| api::to_yaml(crd)).collect();
    let written = yaml.is_ok_and(|all| std::io::stdout().write_all(all.join("---\n").as_bytes()).is_ok());
    if written { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
