//! The operator as a process: started, asked and stopped as a user would. Knows nothing of its code.

pub use crate::process::Exit;
use crate::process::{Folder, Process, Spec, free_port};
use crate::wait::eventually;
use nix::sys::signal::Signal;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

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
    #[expect(dead_code, reason = "holds the log until the process has ended")]
    folder: Folder,
}

impl Operator {
    /// Starts `binary run` with these variables, and no other `ELPIO_*`, `OTEL_*`, `RUST_*` or `KUBE*`; ports that are not given are free
    /// ones. Returns at once: see [`Operator::wait_ready`].
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
        let answer = get(self.health_port, path, "*/*").await?;
        Ok((answer.status, answer.body))
    }

    /// The metrics page as a scraper with that `Accept` gets it.
    ///
    /// # Errors
    /// When nothing listens there.
    pub async fn page(&self, accept: &str) -> io::Result<Answer> {
        get(self.metrics_port, "/metrics", accept).await
    }

    /// The metrics page as text.
    ///
    /// # Panics
    /// When there is none.
    pub async fn metrics(&self, accept: &str) -> String {
        let answer = self.page(accept).await.unwrap_or_else(|error| panic!("the metrics page: {error}\n{}", self.process.log_end(30)));
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    /// The sum of the series of that name with (at least) these labels; `None` when there is none.
    ///
    /// # Panics
    /// When there is no metrics page.
    pub async fn sample(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        sample(&self.metrics("text/plain").await, name, labels)
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

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Resident memory in bytes (Linux).
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn rss(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib * 1024
    }

    /// CPU time used so far by all its threads, in user and kernel (Linux; resolution 10 ms).
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        let stat = self.proc("stat");
        // The second field is the program's name in brackets and may hold anything.
        let (_, fields) = stat.rsplit_once(") ").expect("the program's name");
        let ticks: u64 = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        // USER_HZ is 100 on every architecture that Linux runs containers on.
        Duration::from_millis(ticks * 10)
    }

    /// The TCP ports that it listens on (Linux).
    #[must_use]
    pub fn listening(&self) -> Vec<u16> {
        let sockets: Vec<String> = fs::read_dir(format!("/proc/{}/fd", self.pid()))
            .into_iter()
            .flatten()
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .filter_map(|target| {
                let inode = target.to_str()?.strip_prefix("socket:[")?;
                Some(inode.trim_end_matches(']').to_owned())
            })
            .collect();
        let tables = self.proc("net/tcp") + &self.proc("net/tcp6");
        let mut ports: Vec<u16> = tables.lines().filter_map(|line| listener(line, &sockets)).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
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

    fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.pid());
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.process.log_end(30)))
    }
}

/// The port of a line of /proc/net/tcp, when it listens and is one of those sockets.
fn listener(line: &str, sockets: &[String]) -> Option<u16> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    if *state != LISTEN || !sockets.iter().any(|socket| socket == inode) {
        return None;
    }
    u16::from_str_radix(local.rsplit(':').next()?, 16).ok()
}

/// The answer to a GET.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The `Content-Type`.
    pub content_type: String,
    /// The body.
    pub body: String,
}

/// A GET of its own connection to loopback; a page of an idle server needs no HTTP client.
///
/// # Errors
/// When nothing listens there, or what answers speaks no HTTP.
pub async fn get(port: u16, path: &str, accept: &str) -> io::Result<Answer> {
    let exchange = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        // HTTP/1.0: the answer comes in one piece, and its end is the connection's.
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = tokio::time::timeout(Duration::from_secs(10), exchange).await??;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| io::Error::other(format!("no HTTP: {answer}")))?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| io::Error::other(format!("no status: {head}")))?;
    let content_type = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        .map(|(_, value)| value.trim().to_owned())
        .unwrap_or_default();
    Ok(Answer { status, content_type, body: body.to_owned() })
}

/// The sum of the series of a Prometheus page with that name and (at least) these labels.
#[must_use]
pub fn sample(page: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let wanted: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
    page.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let line = line.split(" # ").next()?;
            let (series, held, value) = if let Some((series, rest)) = line.split_once('{') {
                let (held, value) = rest.rsplit_once('}')?;
                (series, held, value)
            } else {
                let (series, value) = line.split_once(' ')?;
                (series, "", value)
            };
            let matches = series == name && wanted.iter().all(|label| has_label(held, label));
            let value = value.split_whitespace().next()?;
            matches.then(|| value.parse::<f64>().ok()).flatten()
        })
        .reduce(|sum, value| sum + value)
}

/// `a="1",b="2"` has `b="2"`, and `xb="2"` has not.
fn has_label(held: &str, label: &str) -> bool {
    held.match_indices(label).any(|(at, _)| at == 0 || held[..at].ends_with([',', ' ']))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# TYPE a counter\na_total{kind=\"X\",result=\"error\"} 2\na_total{kind=\"X\",result=\"success\"} 40 # {trace_id=\"1\"} 0.1\n\
                        a_total{other_kind=\"X\"} 7\nplain 1.5\n";

    #[test]
    fn samples_are_summed_over_the_labels_that_were_not_asked_for() {
        assert_eq!(sample(PAGE, "a_total", &[("kind", "X")]), Some(42.0));
        assert_eq!(sample(PAGE, "a_total", &[("kind", "X"), ("result", "error")]), Some(2.0));
        assert_eq!(sample(PAGE, "plain", &[]), Some(1.5));
        assert_eq!(sample(PAGE, "a_total", &[("kind", "Y")]), None);
        assert_eq!(sample(PAGE, "a", &[]), None);
    }
}
