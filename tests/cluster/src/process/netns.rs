//! Re-executes this program inside user, mount and network namespaces that have loopback only. It starts
//! nothing else.
//!
//! The engines may only run there: their autoscalers call the addresses of simulated pods, which in the
//! machine's own network would leave the machine, and some of their ports are fixed.

use std::{
    env,
    fmt::Display,
    fs, io,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

/// Set for the process inside.
const INSIDE: &str = "ELPIO_NETNS";

/// Routes every address of a simulated pod to loopback, so that a process which listens on 0.0.0.0 answers
/// for all pods. `ip` may be in a directory that is not on the PATH.
const SET_UP: &str = r#"
set -e
PATH=$PATH:/usr/sbin:/sbin
command -v ip >/dev/null || { echo "the program ip is missing (package iproute2)" >&2; exit 1; }
ip link set lo up
ip route add local 10.244.0.0/16 dev lo
ip addr add 10.255.0.1/16 dev lo
if [ -e /etc/resolv.conf ]; then
  # A signal in between leaves no file behind.
  names=
  trap 'rm -f "$names"; exit 130' INT
  trap 'rm -f "$names"; exit 143' TERM
  names=$(mktemp)
  printf 'nameserver 127.0.0.1\nsearch svc.cluster.local cluster.local\n' >"$names"
  mount --bind "$names" /etc/resolv.conf
  rm "$names"
  trap - INT TERM
fi
exec "$@"
"#;

/// Why the program cannot run inside.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// The machine does not allow it, or a program is missing.
    #[error(
        "the engines need a user namespace and a network namespace, which this machine does not allow: {0}\n\
         Allow unprivileged user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, \
         kernel.apparmor_restrict_unprivileged_userns) and install `unshare` (util-linux) and `ip` (iproute2)"
    )]
    Unavailable(String),
    /// The variable is set, but there is more than loopback.
    #[error("{INSIDE} is set, but this network has more than loopback: {0}")]
    NotIsolated(String),
    /// The preparation outside has failed.
    #[error("{0}")]
    Preparation(String),
    /// Something else.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Returns if the process is inside. Outside, it calls `prepare`, which may use the network (to build, to
/// download), and then replaces the process by the same program with the same arguments, inside.
///
/// # Errors
/// See [`NetnsError`].
pub fn enter<E: Display>(prepare: impl FnOnce() -> Result<(), E>) -> Result<(), NetnsError> {
    if is_inside()? {
        return Ok(());
    }
    check_available()?;
    prepare().map_err(|error| NetnsError::Preparation(error.to_string()))?;
    Err(command_inside()?.exec().into())
}

/// Whether this process is inside.
///
/// # Errors
/// If it should be, but has more than loopback.
pub fn is_inside() -> Result<bool, NetnsError> {
    if env::var_os(INSIDE).is_none() {
        return Ok(false);
    }
    check_isolated().map(|()| true)
}

/// Tries to create the namespaces.
///
/// # Errors
/// If the machine does not allow it.
pub fn check_available() -> Result<(), NetnsError> {
    let output = unshare()
        .arg("true")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| NetnsError::Unavailable(format!("unshare: {error}")))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(NetnsError::Unavailable(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

/// This program with its arguments, inside.
pub(crate) fn command_inside() -> io::Result<Command> {
    let mut command = unshare();
    command.arg(env::current_exe()?).args(env::args_os().skip(1)).env(INSIDE, "1");
    Ok(command)
}

/// A command whose further arguments are run inside, under the process id of the command.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "--mount", "sh", "-c", SET_UP, "netns"]);
    command
}

fn check_isolated() -> Result<(), NetnsError> {
    let devices = fs::read_to_string("/proc/self/net/dev")?;
    let names: Vec<&str> = devices.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
    if names == ["lo"] { Ok(()) } else { Err(NetnsError::NotIsolated(names.join(", "))) }
}
