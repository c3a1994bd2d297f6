//! Processes that end with us in every case: on drop, on panic, and when this process is killed or ends with
//! statics that never drop.

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

use crate::wait::eventually;

/// How long a process may take to stand still after SIGSTOP.
const STOP: Duration = Duration::from_secs(5);

/// Runs `$2…` with its output in `$1`. Our end of its stdin is closed by the kernel however we end, and then
/// it kills the program. (Linux's parent-death signal would need `unsafe`, and fires when the starting
/// *thread* ends.)
const GUARD: &str = r#"
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

/// Removes the folder `$1` when our end of its stdin is closed; others may still be writing to it for a
/// moment.
const JANITOR: &str = r#"read -r _; for _ in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$1" && exit; sleep 0.2; done"#;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// What to run.
#[derive(Debug)]
pub struct Spec<'a> {
    /// For people, and the log's file name.
    pub name: &'a str,
    /// The program.
    pub program: &'a Path,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables set for it.
    pub env: Vec<(OsString, OsString)>,
    /// Variables that are not handed on: those beginning with one of these.
    pub env_removed: &'a [&'a str],
    /// Where its log is written; also its working directory.
    pub folder: &'a Path,
}

/// A running program; killed on drop.
#[derive(Debug)]
pub struct Process {
    name: String,
    guard: Child,
    pid: Pid,
    log: PathBuf,
    exit: Option<Exit>,
}

impl Process {
    /// Starts it.
    ///
    /// # Errors
    /// When the program is not there or cannot be started.
    pub fn spawn(spec: Spec<'_>) -> io::Result<Self> {
        if !spec.program.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("{} is not there", spec.program.display()),
            ));
        }
        let log = spec.folder.join(format!("{}.log", spec.name));
        let mut command = Command::new("sh");
        command.args(["-c", GUARD, "guard"]).arg(&log).arg(spec.program).args(spec.args);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if spec.env_removed.iter().any(|start| text.starts_with(start)) {
                command.env_remove(&name);
            }
        }
        let mut guard = command
            .envs(spec.env)
            .current_dir(spec.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            // Ctrl-C on the terminal is for us, who then end it in order.
            .process_group(0)
            .spawn()?;
        let mut line = String::new();
        BufReader::new(guard.stdout.take().expect("piped")).read_line(&mut line)?;
        let pid = line
            .trim()
            .parse()
            .map_err(|_| io::Error::other(format!("{}: the guard said {line:?}", spec.name)))?;
        Ok(Self { name: spec.name.to_owned(), guard, pid: Pid::from_raw(pid), log, exit: None })
    }

    /// What it was called when it was started.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The program's own process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// Everything it has written.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines that it has written.
    #[must_use]
    pub fn log_end(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<_> = log.lines().collect();
        let end = all[all.len().saturating_sub(lines)..].join("\n");
        format!("--- end of {}'s log ---\n{end}\n---", self.name)
    }

    /// How it ended, if it has.
    pub fn exit(&mut self) -> Option<Exit> {
        if self.exit.is_none() {
            // A shell reports a child killed by signal N as 128 + N.
            self.exit =
                self.guard.try_wait().ok().flatten().map(|status| match status.code().unwrap_or(128 + 9) {
                    code if code > 128 => Exit::Signal(code - 128),
                    code => Exit::Code(code),
                });
        }
        self.exit
    }

    /// Panics with the end of its log when it has ended.
    ///
    /// # Panics
    /// See above.
    pub fn assert_running(&mut self) {
        if let Some(exit) = self.exit() {
            panic!("{} ended ({exit:?})\n{}", self.name, self.log_end(40));
        }
    }

    /// Sends it a signal. SIGSTOP has taken effect when this returns: the kernel stops one thread after the
    /// other.
    pub fn signal(&self, signal: Signal) {
        if self.exit.is_some() {
            return;
        }
        // It may have ended by itself in between.
        let sent = signal::kill(self.pid, signal).is_ok();
        let begun = Instant::now();
        while sent && signal == Signal::SIGSTOP && begun.elapsed() < STOP && !crate::proc::stopped(self.pid())
        {
            std::thread::yield_now();
        }
    }

    /// Ends it with SIGKILL, and returns when it is gone.
    pub fn kill(&mut self) {
        if self.exit().is_none() {
            self.signal(Signal::SIGKILL);
            let _ = self.guard.wait();
            self.exit = Some(Exit::Signal(Signal::SIGKILL as i32));
        }
    }

    /// Ends it with SIGTERM, and with SIGKILL when that takes too long.
    pub async fn terminate(&mut self, bound: Duration) -> Exit {
        self.signal(Signal::SIGTERM);
        let end = tokio::time::Instant::now() + bound;
        while tokio::time::Instant::now() < end {
            if let Some(exit) = self.exit() {
                return exit;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.kill();
        Exit::Signal(Signal::SIGKILL as i32)
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// After `bound`, with the end of its log.
    pub async fn exited(&mut self, bound: Duration) -> Exit {
        let what = format!("{} ends by itself", self.name);
        eventually(&what, bound, async || self.exit().ok_or_else(|| self.log_end(40))).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A temporary folder that is removed with us, like the processes. With `ELPIO_KEEP=1` it stays (its logs are
/// worth reading).
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    janitor: Option<Child>,
}

impl Folder {
    /// Makes it.
    ///
    /// # Panics
    /// When the temporary folder of this machine is not writable.
    #[must_use]
    pub fn new(purpose: &str) -> Self {
        let path = std::env::temp_dir().join(format!("elpio-{purpose}-{}", unique()));
        fs::create_dir_all(&path).expect("the temporary folder is writable");
        let keep = std::env::var_os("ELPIO_KEEP").is_some();
        let janitor = (!keep).then(|| {
            Command::new("sh")
                .args(["-c", JANITOR, "janitor"])
                .arg(&path)
                .stdin(Stdio::piped())
                .process_group(0)
                .spawn()
                .expect("sh can be started")
        });
        Self { path, janitor }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(mut janitor) = self.janitor.take() {
            drop(janitor.stdin.take());
            let _ = janitor.wait();
        }
    }
}

/// A short text that no other call, in this process or another, has got: for names.
#[must_use]
pub fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:x}{:03x}-{:x}", std::process::id(), now.subsec_millis(), count)
}

/// A TCP port on loopback that nobody has. From below the range that the kernel gives to outgoing
/// connections, so that a component which is stopped finds its port free when it starts again.
///
/// # Panics
/// When a thousand ports in a row are taken.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 20_000;
    const RANGE: u32 = 12_000;
    // Processes that run side by side begin at different places.
    let start = std::process::id().wrapping_mul(7919) % RANGE;
    (0..1000)
        .map(|_| {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            u16::try_from(FIRST + (start + step) % RANGE).expect("below 65536")
        })
        .find(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok())
        .expect("a free port")
}
