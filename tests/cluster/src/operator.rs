//! The operator as a process: started, asked and stopped as a user would. Knows nothing of its code.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::{
    page::{self, Answer},
    proc,
    process::{Folder, Process, Spec, free_port},
    wait::eventually,
};

pub use crate::process::Exit;

/// Long enough for a machine that builds something else at the same time.
const BOUND: Duration = Duration::from_mins(1);
/// The surroundings of the test must not configure the operator.
const NOT_HANDED_ON: &[&str] = &["ELPIO_", "OTEL_", "RUST_", "KUBE", "POD_", "NODE_"];

/// A running operator; killed on drop.
#[derive(Debug)]
pub struct Operator {
    process: Process,
    health_port: u16,
    metrics_port: u16,
    folder: Folder,
}

impl Operator {
    /// Starts `binary run` with these variables, and no other `ELPIO_*`, `OTEL_*`, `RUST_*` or `KUBE*`; ports
    /// that are not given are free ones. Returns at once: see [`Operator::wait_ready`].
    ///
    /// # Panics
    /// When the binary cannot be started.
    #[must_use]
    pub fn spawn(binary: &Path, kubeconfig: &Path, env: &[(&str, &str)]) -> Self {
        Self::spawn_with(binary, &["run"], kubeconfig, env)
    }

    /// The same with another command line.
    ///
    /// # Panics
    /// When the binary cannot be started.
    #[must_use]
    pub fn spawn_with(binary: &Path, args: &[&str], kubeconfig: &Path, env: &[(&str, &str)]) -> Self {
        let folder = Folder::new("operator");
        let port = |name: &str| {
            let given = env.iter().rev().find(|(key, _)| *key == name);
            given.and_then(|(_, value)| value.parse().ok()).unwrap_or_else(free_port)
        };
        let (health_port, metrics_port) = (port("ELPIO_HEALTH_PORT"), port("ELPIO_METRICS_PORT"));
        let mut all: Vec<(OsString, OsString)> = vec![
            ("KUBECONFIG".into(), kubeconfig.into()),
            ("ELPIO_HEALTH_PORT".into(), health_port.to_string().into()),
            ("ELPIO_METRICS_PORT".into(), metrics_port.to_string().into()),
            ("RUST_BACKTRACE".into(), "1".into()),
        ];
        all.extend(env.iter().map(|(key, value)| (key.into(), value.into())));
        let process = Process::spawn(Spec {
            name: "operator",
            program: binary,
            args: args.iter().map(OsString::from).collect(),
            env: all,
            env_removed: NOT_HANDED_ON,
            folder: folder.path(),
        })
        .unwrap_or_else(|error| panic!("the operator: {error}"));
        Self { process, health_port, metrics_port, folder }
    }

    /// Returns when `/readyz` says 200.
    ///
    /// # Panics
    /// When it ends before, or is not ready after a minute; with the end of its log.
    pub async fn wait_ready(&mut self) {
        eventually("the operator is ready", BOUND, async || {
            self.process.assert_running();
            match self.get("/readyz").await {
                Ok((200, _)) => Ok(()),
                other => Err(format!("{other:?}\n{}", self.process.log_end(30))),
            }
        })
        .await;
    }

    /// Whether `/readyz` says 200 now.
    pub async fn ready(&self) -> bool {
        matches!(self.get("/readyz").await, Ok((200, _)))
    }

    /// GET on the health port: the status and the body.
    ///
    /// # Errors
    /// When nothing listens there.
    pub async fn get(&self, path: &str) -> io::Result<(u16, String)> {
        let answer = page::get(self.health_port, path, "*/*").await?;
        Ok((answer.status, answer.body))
    }

    /// The metrics page as a scraper with that `Accept` gets it.
    ///
    /// # Errors
    /// When nothing listens there.
    pub async fn page(&self, accept: &str) -> io::Result<Answer> {
        page::get(self.metrics_port, "/metrics", accept).await
    }

    /// The metrics page as text.
    ///
    /// # Panics
    /// When there is none.
    pub async fn metrics(&self, accept: &str) -> String {
        let answer = self
            .page(accept)
            .await
            .unwrap_or_else(|error| panic!("the metrics page: {error}\n{}", self.process.log_end(30)));
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    /// The sum of the series of that name with (at least) these labels; `None` when there is none.
    ///
    /// # Panics
    /// When there is no metrics page.
    pub async fn sample(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        page::sample(&self.metrics("text/plain").await, name, labels)
    }

    /// `ELPIO_HEALTH_PORT`
    #[must_use]
    pub fn health_port(&self) -> u16 {
        self.health_port
    }

    /// `ELPIO_METRICS_PORT`
    #[must_use]
    pub fn metrics_port(&self) -> u16 {
        self.metrics_port
    }

    /// Everything that it has written to stdout and stderr.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The end of it, for an error message.
    #[must_use]
    pub fn log_end(&self) -> String {
        self.process.log_end(40)
    }

    /// The file that it goes to.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.folder.path().join("operator.log")
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Resident memory in bytes.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn rss(&self) -> u64 {
        proc::rss(self.pid())
    }

    /// CPU time used so far.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        proc::cpu(self.pid())
    }

    /// The TCP ports that it listens on.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn listening(&self) -> Vec<u16> {
        proc::listening(self.pid())
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Sends it a signal, and returns at once.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// SIGTERM, and how it ended; SIGKILL after `bound`.
    pub async fn terminate(&mut self, bound: Duration) -> Exit {
        self.process.terminate(bound).await
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When it has not after `bound`, with the end of its log.
    pub async fn exited(&mut self, bound: Duration) -> Exit {
        self.process.exited(bound).await
    }

    /// Whether it still runs.
    pub fn running(&mut self) -> bool {
        self.process.exit().is_none()
    }
}
