//! The command line, and what `--help` says. Does nothing.

use std::path::PathBuf;

use clap::{Arg, ArgAction, Command};

const ABOUT: &str = "Shows Elpio at work on this machine: needs Rust and Go, no container and no cluster.";
const DETAILS: &str = "\
What runs, all of it real but the containers: etcd and Kubernetes; the controllers of Knative Serving, Tekton Pipelines, KEDA and its HTTP
add-on, whose pods KWOK plays; the OpenTelemetry Collector, Jaeger and Prometheus; and the operator. They run in a network namespace of their
own, which has loopback alone; what you may want to open is forwarded to 127.0.0.1. Then deploy/samples/*.yaml are applied, and two objects
that fail. You see them become ready or fail, their Events, one function's trace as Jaeger has it, the dashboards' numbers as Prometheus
answers them, and the alert that the failing build raises.

The first time, the demo and the operator are compiled (5 minutes on two cores), and everything else is built from Go modules and kept in
your cache folder: etcd and Kubernetes 6 minutes, collector, Jaeger and Prometheus 8 (--no-backends leaves them out; they come without
their web pages), the engines 20 (KEDA alone 8). Later runs take a minute or two.

Where the machine allows no user and network namespaces, and with --stand-in, no engine runs: a stand-in writes the status that they would,
and nothing of the engines is built.

KUBEBUILDER_ASSETS names a folder with etcd, kube-apiserver and kube-controller-manager to use instead of building them (also of other
programs, where it has them).";

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Leave it running in the end.
    pub keep: bool,
    /// With collector, Jaeger and Prometheus.
    pub backends: bool,
    /// No engines.
    pub stand_in: bool,
    /// Where pictures are written.
    pub pictures: Option<PathBuf>,
}

impl Options {
    /// This program's; ends it where they are wrong.
    pub fn read() -> Self {
        let flag = |name: &'static str, help: &'static str| {
            Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
        };
        let matches = Command::new("cargo demo")
            .bin_name("cargo demo")
            .about(ABOUT)
            .after_help(DETAILS)
            .arg(flag("keep", "Leave it running, with a kubeconfig to use, until Ctrl-C"))
            .arg(flag("no-backends", "Without collector, Jaeger and Prometheus: no panels, no alert, the trace as it was received"))
            .arg(flag("stand-in", "Without engines: a stand-in writes the status that they would"))
            .arg(
                Arg::new("pictures")
                    .long("pictures")
                    .value_name("FOLDER")
                    .value_parser(clap::value_parser!(PathBuf))
                    .conflicts_with("no-backends")
                    .help("Write this run's trace and a dashboard there: trace.svg and dashboard.svg (a minute and a half more)"),
            )
            .get_matches();
        Self {
            keep: matches.get_flag("keep"),
            backends: !matches.get_flag("no-backends"),
            stand_in: matches.get_flag("stand-in"),
            pictures: matches.get_one("pictures").cloned(),
        }
    }
}
