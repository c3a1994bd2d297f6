//! Runs this program once more inside a network namespace, with a parent outside that forwards ports and
//! signals and returns its exit code. It does not know what the child does.
//!
//! The child ends with the parent in every case: the kernel closes the parent's end of a pipe.

use std::{
    env,
    fs::{self, Permissions},
    io::{self, Read as _},
    os::unix::{
        fs::PermissionsExt as _,
        process::{CommandExt as _, ExitStatusExt as _},
    },
    path::PathBuf,
    process::{ExitCode, ExitStatus, Stdio},
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};

use crate::process::{
    TempDir,
    netns::{self, NetnsError},
    port_forward::{PortForwardListener, PortForwards},
};

/// Set for the child: the directory of the forwarders' sockets.
const FORWARD_DIR: &str = "ELPIO_NETNS_FORWARD_DIR";

/// Runs this program inside, with its arguments and these variables, and returns its exit code. The first
/// SIGINT, SIGTERM or SIGHUP is forwarded, the second one kills.
///
/// # Errors
/// If namespaces are not available, or a socket cannot be created.
pub async fn run(variables: &[(&str, String)]) -> Result<ExitCode, NetnsError> {
    netns::check_available()?;
    let dir = TempDir::new("port-forward");
    fs::set_permissions(dir.path(), Permissions::from_mode(0o700))?;
    let listener = PortForwardListener::open(dir.path())?;
    let mut command = netns::command_inside()?;
    command.envs(variables.iter().map(|(name, value)| (name, value))).env(FORWARD_DIR, dir.path());
    // A process group of its own: the terminal's Ctrl-C reaches the parent only, which forwards it.
    command.process_group(0).stdin(Stdio::piped());
    let mut signals = Signals::listen()?;
    let mut child = Command::from(command).spawn()?;
    let status = wait_forwarding_signals(&mut child, &mut signals).await?;
    drop(listener);
    Ok(exit_code(status))
}

async fn wait_forwarding_signals(child: &mut Child, signals: &mut Signals) -> io::Result<ExitStatus> {
    let pid = child.id().map(|pid| Pid::from_raw(pid.cast_signed()));
    // `Child::wait` would close it, which ends the child.
    let stdin = child.stdin.take();
    let mut stopping = false;
    let status = loop {
        let received = tokio::select! {
            status = child.wait() => break status,
            received = signals.next() => received,
        };
        let Some(pid) = pid else { continue };
        let forwarded = match received {
            Signal::SIGWINCH => received,
            _ if stopping => Signal::SIGKILL,
            _ => received,
        };
        stopping |= received != Signal::SIGWINCH;
        // The child may have ended in the meantime.
        let _ = signal::kill(pid, forwarded);
    };
    drop(stdin);
    status
}

/// As a shell encodes it: 128 + N for signal N.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

/// The signals that are forwarded.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
    window: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            window: signal(SignalKind::window_change())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::SIGINT,
            _ = self.terminate.recv() => Signal::SIGTERM,
            _ = self.hang_up.recv() => Signal::SIGHUP,
            _ = self.window.recv() => Signal::SIGWINCH,
        }
    }
}

/// For the child: ties it to its parent, and returns the port forwards to it; `None` outside a namespace.
///
/// # Errors
/// As [`netns::is_inside`].
pub fn attach() -> Result<Option<PortForwards>, NetnsError> {
    if !netns::is_inside()? {
        return Ok(None);
    }
    let Some(dir) = env::var_os(FORWARD_DIR).map(PathBuf::from) else { return Ok(None) };
    std::thread::spawn(|| {
        let mut buffer = [0];
        // The parent writes nothing: the read returns when the parent has ended.
        while std::io::stdin().read(&mut buffer).is_ok_and(|count| count > 0) {}
        std::process::exit(1);
    });
    Ok(Some(PortForwards::new(dir)))
}
