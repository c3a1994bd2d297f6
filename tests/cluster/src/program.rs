//! A component with ports of its own that can be started, killed, paused and started again. Knows none by
//! name.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::{
    process::{Folder, Process, Spec},
    wait::eventually,
};

/// Long enough for a machine that builds something else at the same time.
const START: Duration = Duration::from_mins(2);

/// How it is started, each time.
pub(crate) struct Program {
    name: &'static str,
    binary: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
    process: Option<Process>,
    folder: Folder,
}

impl Program {
    pub(crate) fn new(
        name: &'static str,
        binary: PathBuf,
        args: Vec<String>,
        env: Vec<(String, String)>,
    ) -> Self {
        Self { name, binary, args, env, process: None, folder: Folder::new(name) }
    }

    /// Its working directory: data, configuration, log.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).expect("a component's folder is writable");
    }

    /// Starts it; does not wait for it.
    pub(crate) fn start(&mut self) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        let process = Process::spawn(Spec {
            name: self.name,
            program: &self.binary,
            args: self.args.iter().map(OsString::from).collect(),
            env: self.env.iter().map(|(key, value)| (key.into(), value.into())).collect(),
            env_removed: &["OTEL_", "KUBE"],
            folder: self.folder.path(),
        });
        self.process = Some(process.unwrap_or_else(|error| panic!("{}: {error}", self.name)));
    }

    /// Asks `probe` until it says that the program is ready; fails at once, with its log, when it has died.
    pub(crate) async fn wait_ready<E: std::fmt::Display>(
        &mut self,
        mut probe: impl AsyncFnMut() -> Result<(), E>,
    ) {
        let what = format!("{} is ready", self.name);
        eventually(&what, START, async || {
            let process = self.process.as_mut().expect("just started");
            process.assert_running();
            probe().await.map_err(|seen| format!("{seen}\n{}", process.log_end(20)))
        })
        .await;
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.as_ref().unwrap_or_else(|| panic!("{} does not run", self.name)).signal(signal);
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join(format!("{}.log", self.name))).unwrap_or_default()
    }

    pub(crate) fn log_end(&self) -> String {
        self.process.as_ref().map_or_else(|| self.log(), |process| process.log_end(30))
    }
}
