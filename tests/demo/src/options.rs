//! The command line and `--help`. It does nothing.

use std::path::PathBuf;

use clap::{Arg, ArgAction, Command};

const ABOUT: &str =
    "Shows Elpio at work on this machine. It needs Rust and Go, but no container engine and no cluster.";
const DETAILS: &str = "\
It starts etcd and Kubernetes; the controllers of Knative Serving, Tekton
Pipelines, KEDA and its HTTP add-on; the OpenTelemetry Collector, Jaeger and
Prometheus; and the operator. All of them are real, but KWOK simulates the pods.
They run in a network namespace that has loopback only; ports that you may want
to open are forwarded to 127.0.0.1.

Then it applies deploy/samples/*.yaml and two objects that fail. You see the
objects become ready or fail, their Events, the trace of one function in Jaeger,
the panels of the dashboards as Prometheus answers them, and the alerts.

The first run compiles the demo and the operator (5 minutes on two cores), and
builds everything else from Go modules into your cache directory: etcd and
Kubernetes in 6 minutes, collector, Jaeger and Prometheus in 8 (--no-backends
leaves them out; Jaeger and Prometheus have no web pages), the engines in 20
(KEDA alone in 8). Later runs take a minute or two.

If this machine does not allow user and network namespaces, or with
--fake-engines, the engines are replaced by fakes that write the status that
they would write, and the engines are not built.

KUBEBUILDER_ASSETS may name a directory with etcd, kube-apiserver and
kube-controller-manager (and other programs): they are used instead of being
built.";

/// The command line options.
#[derive(Clone, Debug)]
pub struct Options {
    /// Keep everything running at the end.
    pub keep: bool,
    /// Run collector, Jaeger and Prometheus.
    pub backends: bool,
    /// Run no engines.
    pub fake_engines: bool,
    /// Where to write pictures.
    pub pictures: Option<PathBuf>,
}

impl Options {
    /// Parses the command line; exits if it is invalid.
    pub fn parse() -> Self {
        let flag = |name: &'static str, help: &'static str| {
            Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
        };
        let matches = Command::new("cargo demo")
            .bin_name("cargo demo")
            .about(ABOUT)
            .after_help(DETAILS)
            .arg(flag("keep", "Keep everything running until Ctrl-C, with a kubeconfig"))
            .arg(flag("no-backends", "No collector, Jaeger and Prometheus; no panels and alerts"))
            .arg(flag("fake-engines", "No engines: fakes write the status that they would write"))
            .arg(
                Arg::new("pictures")
                    .long("pictures")
                    .value_name("DIR")
                    .value_parser(clap::value_parser!(PathBuf))
                    .conflicts_with("no-backends")
                    .help("Write trace.svg and dashboard.svg of this run (90 s more)"),
            )
            .get_matches();
        Self {
            keep: matches.get_flag("keep"),
            backends: !matches.get_flag("no-backends"),
            fake_engines: matches.get_flag("fake-engines"),
            pictures: matches.get_one("pictures").cloned(),
        }
    }
}
