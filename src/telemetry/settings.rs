//! The `OTEL_*` variables, parsed once; it reads nothing but what it is handed and starts nothing.

/// Who this operator is.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Version of the program.
    pub version: &'static str,
    /// Revision it was built from.
    pub revision: &'static str,
    /// Compiler it was built with.
    pub rustc: &'static str,
    /// Namespace of the operator's pod.
    pub namespace: Option<String>,
    /// Name of the operator's pod.
    pub pod_name: Option<String>,
    /// Uid of the operator's pod.
    pub pod_uid: Option<String>,
    /// Node it runs on.
    pub node_name: Option<String>,
    /// Uid of the namespace `kube-system`.
    pub cluster_uid: Option<String>,
}

/// How log lines look on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For a person at a terminal.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// The log on stderr.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// `ELPIO_LOG`, else `RUST_LOG`, else `info`.
    pub filter: String,
    /// How lines look.
    pub format: LogFormat,
    /// Colours.
    pub ansi: bool,
}

/// The parsed `OTEL_*` variables.
#[derive(Clone, Debug)]
pub struct Settings {}

impl Settings {
    /// Parses the environment; the second part are warnings, each names the variable, what it held and what is used.
    pub fn from_env(get: &dyn Fn(&str) -> Option<String>) -> (Settings, Vec<String>) {
        let _ = get;
        todo!()
    }

    /// Whether anything is pushed.
    pub fn pushes(&self) -> bool {
        todo!()
    }
}
