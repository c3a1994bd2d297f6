//! A network of its own: this program once more, inside namespaces that have loopback alone. Starts nothing
//! else.
//!
//! Only there may the engines run: their autoscalers call the addresses of simulated pods, which on the
//! machine's own network would leave it, and some of their ports are fixed.

use std::{
    env,
    fmt::Display,
    fs, io,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

/// Set for what runs inside.
const MARK: &str = "ELPIO_NETNS";

/// Inside: every address of a simulated pod is one of loopback, so that a process which listens on 0.0.0.0
/// answers for all pods.
/// `ip` is in a folder that is not on everybody's PATH.
const SET_UP: &str = r#"
set -e
PATH=$PATH:/usr/sbin:/sbin
command -v ip >/dev/null || { echo "the program ip is missing (package iproute2)" >&2; exit 1; }
ip link set lo up
ip route add local 10.244.0.0/16 dev lo
ip addr add 10.255.0.1/32 dev lo
if [ -e /etc/resolv.conf ]; then
  names=$(mktemp)
  printf 'nameserver 127.0.0.1\nsearch svc.cluster.local cluster.local\n' >"$names"
  mount --bind "$names" /etc/resolv.conf
  rm "$names"
fi
exec "$@"
"#;

/// Why there are no namespaces.
#[derive(Debug, thiserror::Error)]
pub enum NoNamespace {
    /// The machine does not allow them, or lacks a program.
    #[error(
        "the engines run in a user and network namespace only, and this machine gives none: {0}\n\
         Allow unprivileged user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, \
         kernel.apparmor_restrict_unprivileged_userns); `unshare` (util-linux) and `ip` (iproute2) are needed"
    )]
    Refused(String),
    /// The mark is set, and there is more than loopback.
    #[error("{MARK} is set, and this network has more than loopback: {0}")]
    NotAlone(String),
    /// What had to be done before has failed.
    #[error("{0}")]
    Before(String),
    /// Something else.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Returns inside. Outside it calls `before`, which may use the network (to build, to download), and then
/// becomes this same program, with the same arguments, inside: nothing else that has been done in the process
/// remains.
///
/// # Errors
/// See [`NoNamespace`].
pub fn enter<E: Display>(before: impl FnOnce() -> Result<(), E>) -> Result<(), NoNamespace> {
    if is_inside()? {
        return Ok(());
    }
    allowed()?;
    before().map_err(|error| NoNamespace::Before(error.to_string()))?;
    Err(once_more()?.exec().into())
}

/// Whether this process has a network of its own, with nothing but loopback.
///
/// # Errors
/// When it should have one, and there is more.
pub fn is_inside() -> Result<bool, NoNamespace> {
    if env::var_os(MARK).is_none() {
        return Ok(false);
    }
    alone().map(|()| true)
}

/// Tries it, with a program that does nothing.
///
/// # Errors
/// When this machine allows no namespaces.
pub fn allowed() -> Result<(), NoNamespace> {
    let tried = unshare()
        .arg("true")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| NoNamespace::Refused(format!("unshare: {error}")))?;
    if tried.status.success() {
        Ok(())
    } else {
        Err(NoNamespace::Refused(String::from_utf8_lossy(&tried.stderr).trim().to_owned()))
    }
}

/// This program with its arguments, inside.
pub(crate) fn once_more() -> io::Result<Command> {
    let mut command = unshare();
    command.arg(env::current_exe()?).args(env::args_os().skip(1)).env(MARK, "1");
    Ok(command)
}

/// What stands behind it runs inside, under this process's own id.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "--mount", "sh", "-c", SET_UP, "netns"]);
    command
}

fn alone() -> Result<(), NoNamespace> {
    let devices = fs::read_to_string("/proc/self/net/dev")?;
    let names: Vec<&str> = devices.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
    if names == ["lo"] { Ok(()) } else { Err(NoNamespace::NotAlone(names.join(", "))) }
}
