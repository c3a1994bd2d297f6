//! The image unpacked and entered as its user, on a root that cannot be written: `--version`, `crds`, and the
//! operator until it is ready.

use std::{
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use elpio_cluster::{
    Cluster, Operator,
    process::{Exit, TempDir},
};
use elpio_release::archive::Member;
use serde_json::Value;

use crate::members;

/// Makes `$1` read-only and runs the rest in it as 65532: as root, or with a user namespace.
const ENTER: &str = r#"
root=$1; shift
mount --bind "$root" "$root"
mount -o remount,ro,bind "$root"
for device in null random urandom; do mount --bind "/dev/$device" "$root/dev/$device"; done
if [ "$OUTSIDE" = 0 ]; then
    exec chroot --userspec=65532:65532 --groups= "$root" "$@"
fi
exec unshare --user --map-user=65532 --map-group=65532 --root="$root" "$@"
"#;

fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status")
        .is_ok_and(|status| status.lines().any(|line| line.starts_with("Uid:\t0\t0")))
}

/// Where the program lies.
const PROGRAM: &str = "/usr/local/bin/elpio-operator";

/// The arguments of `unshare` that enter the root and run this there.
fn entered(root: &Path, command: &[&str]) -> Vec<String> {
    let mut all = vec!["--mount"];
    if !is_root() {
        all.extend(["--user", "--map-root-user"]);
    }
    let outside = if is_root() { "OUTSIDE=0" } else { "OUTSIDE=1" };
    all.extend([
        "env",
        outside,
        "KUBECONFIG=/kubeconfig",
        "sh",
        "-ec",
        ENTER,
        "enter",
        root.to_str().unwrap(),
    ]);
    all.extend(command);
    all.into_iter().map(str::to_owned).collect()
}

/// The layer's files, and what a container runtime adds: devices, `/etc/hosts`, the credentials.
fn unpacked(kubeconfig: &str) -> TempDir {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let dir = TempDir::new("root");
    for (path, member) in members() {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        match member {
            Member::Link(to) => symlink(to, &path).unwrap(),
            Member::File(mode, bytes) => {
                std::fs::write(&path, bytes).unwrap();
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            }
        }
    }
    std::fs::create_dir(dir.path().join("dev")).unwrap();
    let added =
        [("dev/null", ""), ("dev/random", ""), ("dev/urandom", ""), ("etc/hosts", "127.0.0.1 localhost\n")];
    for (path, text) in added.into_iter().chain([("kubeconfig", kubeconfig)]) {
        std::fs::write(dir.path().join(path), text).unwrap();
    }
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

fn run(root: &Path, command: &[&str]) -> Output {
    Command::new("unshare").args(entered(root, command)).output().unwrap()
}

#[test]
fn it_runs_without_anything_else() {
    let root = unpacked("");
    let version = run(root.path(), &[PROGRAM, "--version"]);
    let text = String::from_utf8(version.stdout).unwrap();
    println!("{text}");
    assert!(version.status.success(), "{}", String::from_utf8_lossy(&version.stderr));
    assert!(text.contains(env!("CARGO_PKG_VERSION")) && text.contains("revision") && text.contains("rustc"));
    let crds = run(root.path(), &[PROGRAM, "crds"]);
    assert!(String::from_utf8(crds.stdout).unwrap().contains("kind: CustomResourceDefinition"));
    for shell in ["/bin/sh", "sh", "/bin/busybox"] {
        let entered = run(root.path(), &[shell, "-c", "true"]);
        let why = String::from_utf8_lossy(&entered.stderr).into_owned();
        assert!(!entered.status.success() && why.contains("No such file"), "{shell}: {why}");
    }
    let plugin = run(root.path(), &["/usr/local/bin/kubectl-elpio", "--help"]);
    assert!(String::from_utf8(plugin.stdout).unwrap().contains("kubectl elpio"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_of_the_image_becomes_ready() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("image").await;
    // By name: the image resolves names itself. The certificate lies beside it, as in a pod.
    let text = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
    let mut kubeconfig: Value =
        serde_json::from_str(&text.replace("https://127.0.0.1:", "https://localhost:")).unwrap();
    let certificate = &mut kubeconfig["clusters"][0]["cluster"]["certificate-authority"];
    let authority = std::fs::read_to_string(certificate.as_str().unwrap()).unwrap();
    *certificate = "/ca.crt".into();
    assert!(kubeconfig.to_string().contains("https://localhost:"));
    let root = tokio::task::spawn_blocking(move || unpacked(&kubeconfig.to_string())).await.unwrap();
    std::fs::write(root.path().join("ca.crt"), authority).unwrap();
    let arguments = entered(root.path(), &[PROGRAM, "run"]);
    let arguments: Vec<&str> =
        std::iter::once("unshare").chain(arguments.iter().map(String::as_str)).collect();
    let environment = [("ELPIO_NAMESPACES", namespace.as_str())];
    let unused = Path::new("/kubeconfig");
    let mut operator = Operator::spawn_with(Path::new("/usr/bin/env"), &arguments, unused, &environment);
    operator.wait_ready().await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", operator.pid())).unwrap();
    let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    println!("{} {}", line("Uid:"), line("NoNewPrivs:"));
    if is_root() {
        assert_eq!(line("Uid:"), "Uid:\t65532\t65532\t65532\t65532");
    }
    let written = std::fs::write(format!("/proc/{}/root/file", operator.pid()), "x");
    assert!(written.is_err(), "the root is read-only");
    let exit = operator.terminate(Duration::from_secs(40)).await;
    assert_eq!(exit, Exit::Code(0), "{}", operator.log_tail());
}
