//! `elpio-operator`: parses the command line and dispatches; everything else is the library's.

use std::{io::Write, process::ExitCode};

use clap::Command;
use elpio_operator::{api, run};

const AFTER_HELP: &str = "Configuration is by environment variables, ELPIO_* and OTEL_*: otel/README.md has them all.\n\
    In a cluster the pod's service account is used, elsewhere the current kubeconfig.";

fn main() -> ExitCode {
    let command = Command::new("elpio-operator")
        .version(run::VERSION)
        .about("Runs ElpioServices and ElpioFunctions on Knative or KEDA")
        .after_help(AFTER_HELP)
        .subcommand(Command::new("run").about("Run the operator (the default)"))
        .subcommand(
            Command::new("crds").about("Print the CustomResourceDefinitions as YAML, for kubectl apply -f -"),
        );
    match command.get_matches().subcommand_name() {
        Some("crds") => {
            let yaml: Result<Vec<String>, _> = api::crds().iter().map(|(_, crd)| api::to_yaml(crd)).collect();
            let written =
                yaml.is_ok_and(|all| std::io::stdout().write_all(all.join("---\n").as_bytes()).is_ok());
            if written { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        _ => run::main(),
    }
}
