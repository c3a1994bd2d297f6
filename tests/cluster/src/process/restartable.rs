//! A component with fixed ports that can be started, killed, paused and started again. It knows no component
//! by name.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::{
    eventually,
    process::{CommandSpec, Process, TempDir},
};

/// Long enough for a machine that is building something else.
const START_TIMEOUT: Duration = Duration::from_mins(2);

/// The command line of a component, and its process while it runs.
pub(crate) struct RestartableProcess {
    name: &'static str,
    binary: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
    process: Option<Process>,
    dir: TempDir,
}

impl RestartableProcess {
    pub(crate) fn new(
        name: &'static str,
        binary: PathBuf,
        args: Vec<String>,
        env: Vec<(String, String)>,
    ) -> Self {
        Self { name, binary, args, env, process: None, dir: TempDir::new(name) }
    }

    /// Its working directory: data, configuration, log.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file into the working directory.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).expect("the working directory is writable");
    }

    /// Starts it without waiting until it is ready.
    pub(crate) fn start(&mut self) {
        assert!(self.process.is_none(), "{} is already running", self.name);
        let process = Process::spawn(CommandSpec {
            name: self.name,
            program: &self.binary,
            args: self.args.iter().map(OsString::from).collect(),
            env: self.env.iter().map(|(key, value)| (key.into(), value.into())).collect(),
            env_removed: &["OTEL_", "KUBE"],
            dir: self.dir.path(),
        });
        self.process = Some(process.unwrap_or_else(|error| panic!("{}: {error}", self.name)));
    }

    /// Polls `probe` until it succeeds; panics with the log as soon as the process has ended.
    pub(crate) async fn wait_ready<E: std::fmt::Display>(
        &mut self,
        mut probe: impl AsyncFnMut() -> Result<(), E>,
    ) {
        let what = format!("{} is ready", self.name);
        eventually(&what, START_TIMEOUT, async || {
            let process = self.process.as_mut().expect("it has been started");
            process.assert_running();
            probe().await.map_err(|error| format!("{error}\n{}", process.log_tail(20)))
        })
        .await;
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.as_ref().unwrap_or_else(|| panic!("{} is not running", self.name)).signal(signal);
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join(format!("{}.log", self.name))).unwrap_or_default()
    }

    pub(crate) fn log_tail(&self) -> String {
        self.process.as_ref().map_or_else(|| self.log(), |process| process.log_tail(30))
    }
}
