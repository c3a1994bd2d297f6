//! Child processes that end with this one in every case: on drop, on panic, and when it is killed. It knows
//! no program by name.

pub mod http;
pub mod netns;
pub mod netns_child;
pub mod port_forward;
pub(crate) mod restartable;
pub mod stats;
mod temp_dir;

use std::{
    ffi::OsString,
    fs,
    io::{self, BufRead as _, BufReader},
    net::{Ipv4Addr, TcpListener},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};

use crate::eventually;

pub use temp_dir::TempDir;

/// How long the kernel may take to stop all threads after SIGSTOP.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs `$2…` with its output in `$1`, and kills it as soon as this process has ended: then the kernel closes
/// our end of the shell's stdin. (Linux's parent-death signal needs `unsafe`, and fires when the starting
/// *thread* ends.)
const SUPERVISOR: &str = r#"
log=$1; shift
exec 3<&0 4>&1 </dev/null >>"$log" 2>&1
"$@" 3<&- 4>&- &
pid=$!
{ read -r _ <&3; kill -KILL "$pid"; } 4>&- 2>/dev/null &
guard=$!
echo "$pid" >&4
exec 3<&- 4>&-
wait "$pid"; code=$?
kill -KILL "$guard" 2>/dev/null
exit "$code"
"#;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// Killed by this signal.
    Signal(i32),
}

/// What to run.
#[derive(Debug)]
pub struct CommandSpec<'a> {
    /// Used in messages, and as the log's file name.
    pub name: &'a str,
    /// The executable.
    pub program: &'a Path,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Environment variables to set.
    pub env: Vec<(OsString, OsString)>,
    /// Prefixes of environment variables that are not inherited.
    pub env_removed: &'a [&'a str],
    /// The working directory, where the log is written too.
    pub dir: &'a Path,
}

/// A running child process; killed on drop.
#[derive(Debug)]
pub struct Process {
    name: String,
    supervisor: Child,
    pid: Pid,
    log: PathBuf,
    exit: Option<Exit>,
}

impl Process {
    /// Starts it.
    ///
    /// # Errors
    /// If the program does not exist or cannot be started.
    pub fn spawn(spec: CommandSpec<'_>) -> io::Result<Self> {
        if !spec.program.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("{} does not exist", spec.program.display()),
            ));
        }
        let log = spec.dir.join(format!("{}.log", spec.name));
        let mut command = Command::new("sh");
        command.args(["-c", SUPERVISOR, "supervisor"]).arg(&log).arg(spec.program).args(spec.args);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if spec.env_removed.iter().any(|start| text.starts_with(start)) {
                command.env_remove(&name);
            }
        }
        let mut supervisor = command
            .envs(spec.env)
            .current_dir(spec.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            // The terminal's Ctrl-C reaches this process only, which then ends its children in order.
            .process_group(0)
            .spawn()?;
        let mut line = String::new();
        BufReader::new(supervisor.stdout.take().expect("piped")).read_line(&mut line)?;
        let pid = line
            .trim()
            .parse()
            .map_err(|_| io::Error::other(format!("{}: the supervisor printed {line:?}", spec.name)))?;
        Ok(Self { name: spec.name.to_owned(), supervisor, pid: Pid::from_raw(pid), log, exit: None })
    }

    /// Its name in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The program's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// Everything it has written to stdout and stderr.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines of its log, for an error message.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<_> = log.lines().collect();
        let end = all[all.len().saturating_sub(lines)..].join("\n");
        format!("--- end of {}'s log ---\n{end}\n---", self.name)
    }

    /// How it ended, if it has ended.
    pub fn exit(&mut self) -> Option<Exit> {
        if self.exit.is_none() {
            // A shell reports a child killed by signal N as 128 + N.
            self.exit = self.supervisor.try_wait().ok().flatten().map(|status| {
                match status.code().unwrap_or(128 + 9) {
                    code if code > 128 => Exit::Signal(code - 128),
                    code => Exit::Code(code),
                }
            });
        }
        self.exit
    }

    /// Checks that it has not ended.
    ///
    /// # Panics
    /// If it has ended, with the end of its log.
    pub fn assert_running(&mut self) {
        if let Some(exit) = self.exit() {
            panic!("{} ended ({exit:?})\n{}", self.name, self.log_tail(40));
        }
    }

    /// Sends a signal. After SIGSTOP it waits until all threads have stopped.
    pub fn signal(&self, signal: Signal) {
        if self.exit.is_some() {
            return;
        }
        // The process may have ended in the meantime.
        let sent = signal::kill(self.pid, signal).is_ok();
        let begun = Instant::now();
        while sent
            && signal == Signal::SIGSTOP
            && begun.elapsed() < STOP_TIMEOUT
            && !crate::process::stats::is_stopped(self.pid())
        {
            std::thread::yield_now();
        }
    }

    /// Sends SIGKILL, and waits until the process has ended.
    pub fn kill(&mut self) {
        if self.exit().is_none() {
            self.signal(Signal::SIGKILL);
            let _ = self.supervisor.wait();
            self.exit = Some(Exit::Signal(Signal::SIGKILL as i32));
        }
    }

    /// Sends SIGTERM, and SIGKILL after `timeout`.
    pub async fn terminate(&mut self, timeout: Duration) -> Exit {
        self.signal(Signal::SIGTERM);
        let end = tokio::time::Instant::now() + timeout;
        while tokio::time::Instant::now() < end {
            if let Some(exit) = self.exit() {
                return exit;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.kill();
        Exit::Signal(Signal::SIGKILL as i32)
    }

    /// Waits until it ends without being signalled.
    ///
    /// # Panics
    /// After `timeout`, with the end of its log.
    pub async fn wait_for_exit(&mut self, timeout: Duration) -> Exit {
        let what = format!("{} ends by itself", self.name);
        eventually(&what, timeout, async || self.exit().ok_or_else(|| self.log_tail(40))).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A short text that is unique across processes, for names.
#[must_use]
pub fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:x}{:03x}-{:x}", std::process::id(), now.subsec_millis(), count)
}

/// A free TCP port. It is below the range of ephemeral ports, so that a component that is stopped finds its
/// port still free when it restarts.
///
/// # Panics
/// If a thousand consecutive ports are taken.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 20_000;
    const RANGE: u32 = 12_000;
    // Processes that run in parallel start at different ports.
    let start = std::process::id().wrapping_mul(7919) % RANGE;
    (0..1000)
        .map(|_| {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            u16::try_from(FIRST + (start + step) % RANGE).expect("below 65536")
        })
        .find(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok())
        .expect("a free port")
}
