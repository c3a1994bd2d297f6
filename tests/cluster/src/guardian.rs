//! This program inside a network of its own, with a parent that stays outside: it opens ports, passes signals
//! on, and hands back the exit code.
//!
//! Whatever becomes of the parent, what is inside ends with it: the parent's end of a pipe is closed by the
//! kernel.

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

use crate::{
    forward::{Doors, Porter},
    netns::{self, NoNamespace},
    process::Folder,
};

/// Set for what runs inside: the folder of the forwarders' sockets.
const FOLDER: &str = "ELPIO_NETNS_DOORS";

/// Runs this program once more, inside, with its arguments and these variables; answers its exit code when it
/// has ended. The first SIGINT, SIGTERM or SIGHUP is passed on, the second one kills.
///
/// # Errors
/// When there is no namespace to be had, or no socket to be made.
pub async fn stay_outside(variables: &[(&str, String)]) -> Result<ExitCode, NoNamespace> {
    netns::allowed()?;
    let folder = Folder::new("doors");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700))?;
    let porter = Porter::open(folder.path())?;
    let mut command = netns::once_more()?;
    command.envs(variables.iter().map(|(name, value)| (name, value))).env(FOLDER, folder.path());
    // Ctrl-C on the terminal is for us, who pass it on.
    command.process_group(0).stdin(Stdio::piped());
    let mut signals = Signals::listen()?;
    let mut child = Command::from(command).spawn()?;
    let status = watch(&mut child, &mut signals).await?;
    drop(porter);
    Ok(exit_code(status))
}

async fn watch(child: &mut Child, signals: &mut Signals) -> io::Result<ExitStatus> {
    let pid = child.id().map(|pid| Pid::from_raw(pid.cast_signed()));
    // Kept open as long as we live: `Child::wait` would close it.
    let tether = child.stdin.take();
    let mut asked = false;
    let status = loop {
        let next = tokio::select! {
            status = child.wait() => break status,
            next = signals.next() => next,
        };
        let Some(pid) = pid else { continue };
        let passed = match next {
            Signal::SIGWINCH => next,
            _ if asked => Signal::SIGKILL,
            _ => next,
        };
        asked |= next != Signal::SIGWINCH;
        // It may just have ended.
        let _ = signal::kill(pid, passed);
    };
    drop(tether);
    status
}

/// A shell's way to tell a signal.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

/// What is passed on.
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

/// For the program inside: from now on it ends when its parent outside does. The ports that it may open
/// there; `None` without such a parent.
///
/// # Errors
/// As [`netns::is_inside`].
pub fn inside() -> Result<Option<Doors>, NoNamespace> {
    if !netns::is_inside()? {
        return Ok(None);
    }
    let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) else { return Ok(None) };
    std::thread::spawn(|| {
        let mut nothing = [0];
        // Nothing is ever written. What we have started ends with us, see `process`.
        while std::io::stdin().read(&mut nothing).is_ok_and(|count| count > 0) {}
        std::process::exit(1);
    });
    Ok(Some(Doors::new(folder)))
}
