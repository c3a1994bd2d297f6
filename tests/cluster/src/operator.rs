//! The operator as a process: started, queried and stopped as a user would. It may not use the operator's
//! code.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::{
    eventually,
    process::{
        CommandSpec, Process, TempDir, free_port,
        http::{self, HttpResponse},
        stats,
    },
    telemetry::exposition,
};

pub use crate::process::Exit;

/// Long enough for a machine that is building something else.
const READY_TIMEOUT: Duration = Duration::from_mins(1);
/// Prefixes of variables that are not inherited: the test's environment must not configure the operator.
pub(crate) const NOT_INHERITED: &[&str] = &["ELPIO_", "OTEL_", "RUST_", "KUBE", "POD_", "NODE_"];

/// A running operator; killed on drop.
#[derive(Debug)]
pub struct Operator {
    process: Process,
    health_port: u16,
    metrics_port: u16,
    dir: TempDir,
}

impl Operator {
    /// Starts `binary run` with these variables, and no other `ELPIO_*`, `OTEL_*`, `RUST_*` or `KUBE*`. Ports
    /// default to free ones. It does not wait: see [`Operator::wait_ready`].
    ///
    /// # Panics
    /// If the binary cannot be started.
    #[must_use]
    pub fn spawn(binary: &Path, kubeconfig: &Path, env: &[(&str, &str)]) -> Self {
        Self::spawn_with(binary, &["run"], kubeconfig, env)
    }

    /// As [`Operator::spawn`], with other arguments.
    ///
    /// # Panics
    /// If the binary cannot be started.
    #[must_use]
    pub fn spawn_with(binary: &Path, args: &[&str], kubeconfig: &Path, env: &[(&str, &str)]) -> Self {
        let dir = TempDir::new("operator");
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
        let process = Process::spawn(CommandSpec {
            name: "operator",
            program: binary,
            args: args.iter().map(OsString::from).collect(),
            env: all,
            env_removed: NOT_INHERITED,
            dir: dir.path(),
        })
        .unwrap_or_else(|error| panic!("the operator: {error}"));
        Self { process, health_port, metrics_port, dir }
    }

    /// Waits until `/readyz` returns 200.
    ///
    /// # Panics
    /// If it ends, or is not ready after a minute, with the end of its log.
    pub async fn wait_ready(&mut self) {
        eventually("the operator is ready", READY_TIMEOUT, async || {
            self.process.assert_running();
            match self.get("/readyz").await {
                Ok((200, _)) => Ok(()),
                other => Err(format!("{other:?}\n{}", self.process.log_tail(30))),
            }
        })
        .await;
    }

    /// Whether `/readyz` returns 200.
    pub async fn is_ready(&self) -> bool {
        matches!(self.get("/readyz").await, Ok((200, _)))
    }

    /// Sends a GET to the health port; returns status and body.
    ///
    /// # Errors
    /// If nothing listens there.
    pub async fn get(&self, path: &str) -> io::Result<(u16, String)> {
        let answer = http::get(self.health_port, path, "*/*").await?;
        Ok((answer.status, answer.body))
    }

    /// Scrapes the metrics endpoint with this `Accept` header.
    ///
    /// # Errors
    /// If nothing listens there.
    pub async fn scrape(&self, accept: &str) -> io::Result<HttpResponse> {
        http::get(self.metrics_port, "/metrics", accept).await
    }

    /// The metrics that a scrape with this `Accept` header returns.
    ///
    /// # Panics
    /// If the scrape fails.
    pub async fn metrics(&self, accept: &str) -> String {
        let answer = self
            .scrape(accept)
            .await
            .unwrap_or_else(|error| panic!("scraping metrics: {error}\n{}", self.process.log_tail(30)));
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    /// The sum of the series with this name and (at least) these labels; `None` without series.
    ///
    /// # Panics
    /// If the scrape fails.
    pub async fn sample(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        exposition::sample(&self.metrics("text/plain").await, name, labels)
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

    /// Everything it has written to stdout and stderr.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The end of its log, for an error message.
    #[must_use]
    pub fn log_tail(&self) -> String {
        self.process.log_tail(40)
    }

    /// The log file.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.dir.path().join("operator.log")
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Resident memory in bytes.
    ///
    /// # Panics
    /// If it has ended.
    #[must_use]
    pub fn rss(&self) -> u64 {
        stats::rss(self.pid())
    }

    /// CPU time used so far, user and kernel.
    ///
    /// # Panics
    /// If it has ended.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        stats::cpu(self.pid())
    }

    /// The TCP ports on which it listens.
    ///
    /// # Panics
    /// If it has ended.
    #[must_use]
    pub fn listening_ports(&self) -> Vec<u16> {
        stats::listening_ports(self.pid())
    }

    /// Sends SIGKILL, and waits until it has ended.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Sends SIGTERM, and SIGKILL after `timeout`; returns how it ended.
    pub async fn terminate(&mut self, timeout: Duration) -> Exit {
        self.process.terminate(timeout).await
    }

    /// Waits until it ends without being signalled.
    ///
    /// # Panics
    /// After `timeout`, with the end of its log.
    pub async fn wait_for_exit(&mut self, timeout: Duration) -> Exit {
        self.process.wait_for_exit(timeout).await
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.process.exit().is_none()
    }
}
