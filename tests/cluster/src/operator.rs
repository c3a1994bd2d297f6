//! The operator as a process: started, asked, stopped as a user would.
use std::path::Path;
use std::time::Duration;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

/// A running operator; killed on drop.
pub struct Operator {}

impl Operator {
    /// Starts `binary run` with only these `ELPIO_*`, `OTEL_*` and `RUST_LOG` variables; ports not given are free ones.
    pub async fn spawn(binary: &Path, kubeconfig: &Path, env: &[(&str, &str)]) -> Self {
        todo!()
    }
    pub async fn wait_ready(&self) {
        todo!()
    }
    pub async fn ready(&self) -> bool {
        todo!()
    }
    /// GET on the health port: status and body; `Err` when nothing listens.
    pub async fn get(&self, path: &str) -> Result<(u16, String), std::io::Error> {
        todo!()
    }
    /// The metrics page.
    pub async fn metrics(&self, accept: &str) -> String {
        todo!()
    }
    /// One series' value on the page: `sample("elpio_reconcile_total", &[("kind", "ElpioService")])`, summed over what matches.
    pub async fn sample(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        todo!()
    }
    pub fn health_port(&self) -> u16 {
        todo!()
    }
    pub fn metrics_port(&self) -> u16 {
        todo!()
    }
    pub fn log(&self) -> String {
        todo!()
    }
    pub fn pid(&self) -> u32 {
        todo!()
    }
    /// Resident memory in bytes.
    pub fn rss(&self) -> u64 {
        todo!()
    }
    /// CPU time used so far.
    pub fn cpu(&self) -> Duration {
        todo!()
    }
    /// Its listening TCP ports.
    pub fn listening(&self) -> Vec<u16> {
        todo!()
    }
    /// SIGKILL.
    pub async fn kill(&mut self) {
        todo!()
    }
    /// SIGTERM, and how it ended.
    pub async fn terminate(&mut self, bound: Duration) -> Exit {
        todo!()
    }
    /// Waits until it ends by itself.
    pub async fn exited(&mut self, bound: Duration) -> Exit {
        todo!()
    }
}
