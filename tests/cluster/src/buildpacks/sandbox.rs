//! A process in a root of its own, as in a container: it sees the machine's programs and what is mounted for
//! it, and nothing else. It starts no network of its own.

use std::{
    ffi::OsString,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::process::TempDir;

/// `$1` is an empty folder; pairs of a source and a path in the root follow, each with `ro` or `rw` before it;
/// the command comes after `--`. A folder of the machine that is no link is mounted.
const SET_UP: &str = r#"
set -eu
root="$1"
shift
mount -t tmpfs root "$root"
cd "$root"
mkdir -p proc dev tmp etc home/cnb
chmod 1777 tmp
for folder in /usr /bin /sbin /lib /lib64; do
  if [ -L "$folder" ]; then ln -s "$(readlink "$folder")" ".$folder"
  elif [ -d "$folder" ]; then mkdir ".$folder" && mount --rbind "$folder" ".$folder" && mount -o remount,bind,ro ".$folder"
  fi
done
# The names of awk and others lead there.
if [ -d /etc/alternatives ]; then mkdir etc/alternatives && mount --bind /etc/alternatives etc/alternatives; fi
for device in null zero urandom; do : >"dev/$device" && mount --bind "/dev/$device" "dev/$device"; done
mount -t proc proc proc || true
printf 'cnb:x:1000:1000::/home/cnb:/bin/sh\n' >etc/passwd
while [ "$1" != -- ]; do
  mkdir -p ".$3"
  mount --bind "$2" ".$3"
  [ "$1" = rw ] || mount -o remount,bind,ro ".$3"
  shift 3
done
shift
exec unshare --user --map-user=1000 --map-group=1000 --root="$root" --wd=/ -- "$@"
"#;

/// A folder that the process sees.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Where it is on the machine.
    pub source: PathBuf,
    /// Where the process sees it.
    pub path: String,
    /// The process may write there.
    pub writable: bool,
}

/// How a process ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its exit code.
    pub code: i32,
    /// What it printed.
    pub output: String,
}

/// Runs a command with these variables alone, and waits for its end.
///
/// # Panics
/// If the machine allows no user namespaces, or the command was ended by a signal.
#[must_use]
pub fn run(command: &[String], variables: &[(String, String)], mounts: &[Mount]) -> Ended {
    let root = TempDir::new("root");
    // What lies below another one is mounted after it.
    let mut mounts = mounts.to_vec();
    mounts.sort_by(|one, other| one.path.cmp(&other.path));
    let mut args: Vec<OsString> =
        ["--user", "--map-root-user", "--mount", "--pid", "--fork", "sh", "-c", SET_UP, "sandbox"]
            .map(OsString::from)
            .into();
    args.push(root.path().into());
    for mount in mounts {
        args.push(if mount.writable { "rw" } else { "ro" }.into());
        args.extend([mount.source.into_os_string(), mount.path.into()]);
    }
    args.push("--".into());
    args.extend(command.iter().map(OsString::from));
    let output = Command::new("unshare")
        .args(args)
        .env_clear()
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .output()
        .expect("unshare (util-linux) can be started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let printed = format!("{}{}", text(&output.stdout), text(&output.stderr));
    let code = output.status.code().unwrap_or_else(|| panic!("{command:?}: {}\n{printed}", output.status));
    Ended { code, output: printed }
}
