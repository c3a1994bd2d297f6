//! The binaries of the real components: from `KUBEBUILDER_ASSETS`, else built once from Go modules and kept outside the checkout.

use crate::report::say;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A program that is built from a Go module.
#[derive(Clone, Copy, Debug)]
pub struct Component {
    /// The binary's name.
    pub name: &'static str,
    /// The folder of `components/` whose go.mod and go.sum resolve it.
    module: &'static str,
    package: &'static str,
    ldflags: &'static str,
    tags: &'static str,
}

/// Without it the API server calls itself v0.0.0, and clients refuse features.
const KUBERNETES_VERSION: &str = "-X k8s.io/component-base/version.gitVersion=v1.35.4 \
     -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=35";

/// The store.
pub const ETCD: Component = Component { name: "etcd", module: "etcd", package: "go.etcd.io/etcd/server/v3", ldflags: "", tags: "" };
/// The API server.
pub const KUBE_APISERVER: Component = Component {
    name: "kube-apiserver",
    module: "kubernetes",
    package: "k8s.io/kubernetes/cmd/kube-apiserver",
    ldflags: KUBERNETES_VERSION,
    tags: "",
};
/// Garbage collection, Deployments, service accounts, namespaces' ends.
pub const KUBE_CONTROLLER_MANAGER: Component = Component {
    name: "kube-controller-manager",
    module: "kubernetes",
    package: "k8s.io/kubernetes/cmd/kube-controller-manager",
    ldflags: KUBERNETES_VERSION,
    tags: "",
};

/// Why there is no binary.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No Go.
    #[error(
        "{0} has to be built, and `go` is not on the PATH: install Go (https://go.dev/dl), or point KUBEBUILDER_ASSETS to a folder with \
         etcd, kube-apiserver and kube-controller-manager"
    )]
    NoGo(String),
    /// Go said no.
    #[error("{name} could not be built: go {args}\n{output}")]
    Go {
        /// What was built.
        name: String,
        /// The command.
        args: String,
        /// The end of what it printed.
        output: String,
    },
    /// The cache folder.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Component {
    /// The path of the binary, which is built first when it is not there. Blocks for minutes then.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn binary(&self) -> Result<PathBuf, BuildError> {
        if let Some(given) = std::env::var_os("KUBEBUILDER_ASSETS") {
            let path = Path::new(&given).join(self.name);
            if path.is_file() {
                return Ok(path);
            }
        }
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("components").join(self.module);
        let go_mod = read(&manifest.join("go.mod"))?;
        let go_sum = read(&manifest.join("go.sum"))?;
        let args = self.build_args();
        let key = key(&[&go_mod, &go_sum, args.join(" ").as_bytes()]);
        let folder = cache().join(format!("{}-{key}", self.name));
        let binary = folder.join(self.name);
        if binary.is_file() {
            return Ok(binary);
        }

        at(&folder, fs::create_dir_all(&folder))?;
        let _lock = self.lock(&folder)?;
        if binary.is_file() {
            return Ok(binary);
        }
        // Beside a copy of the manifest: `go` may want to write there, and a checkout may be read-only.
        write(&folder.join("go.mod"), &go_mod)?;
        write(&folder.join("go.sum"), &go_sum)?;
        self.build(&folder, &args)?;
        let built = folder.join(BUILT);
        at(&built, fs::rename(&built, &binary))?;
        Ok(binary)
    }

    fn build_args(&self) -> Vec<String> {
        let mut args: Vec<String> = ["build", "-trimpath", "-o", BUILT].map(str::to_owned).to_vec();
        args.push("-ldflags".to_owned());
        args.push(format!("-s -w {}", self.ldflags).trim_end().to_owned());
        if !self.tags.is_empty() {
            args.extend(["-tags".to_owned(), self.tags.to_owned()]);
        }
        args.push(self.package.to_owned());
        args
    }

    /// Held while building, so that test processes side by side build once.
    fn lock(&self, folder: &Path) -> Result<File, BuildError> {
        let path = folder.join("lock");
        let lock = at(&path, File::create(&path))?;
        if lock.try_lock().is_err() {
            say(format_args!("   Waiting for another process that builds {}", self.name));
            at(&path, lock.lock())?;
        }
        Ok(lock)
    }

    fn build(&self, folder: &Path, args: &[String]) -> Result<(), BuildError> {
        let name = self.name;
        say(format_args!("  Building {name} from Go modules (once; kept in {})", folder.display()));
        let start = Instant::now();
        let output = go(name, folder, args, |elapsed| {
            say(format_args!("  Building {name} … {} s", elapsed.as_secs()));
        })?;
        drop(output);
        say(format_args!("     Built {name} in {:.0} s", start.elapsed().as_secs_f32()));
        Ok(())
    }
}

/// The binary while it is being written.
const BUILT: &str = "unfinished";

/// The folder of a module in the Go module cache; downloaded when it is not there.
///
/// # Errors
/// See [`BuildError`].
pub fn module_folder(module: &str, version: &str) -> Result<PathBuf, BuildError> {
    let name = format!("{module}@{version}");
    let cache = go(&name, Path::new("."), &["env", "GOMODCACHE"], |_| ())?;
    let folder = Path::new(cache.trim()).join(&name);
    if folder.is_dir() {
        return Ok(folder);
    }
    let start = Instant::now();
    say(format_args!("Downloading {name} for its CRDs"));
    let json = go(&name, &std::env::temp_dir(), &["mod", "download", "-json", &name], |elapsed| {
        say(format_args!("Downloading {name} … {} s", elapsed.as_secs()));
    })?;
    say(format_args!(" Downloaded {name} in {:.0} s", start.elapsed().as_secs_f32()));
    let answer: serde_json::Value = serde_json::from_str(&json).unwrap_or_default();
    answer["Dir"].as_str().map(PathBuf::from).ok_or_else(|| BuildError::Go {
        name,
        args: "mod download -json".to_owned(),
        output: json.clone(),
    })
}

/// Runs `go`, calling `waiting` every ten seconds; returns what it printed.
fn go<A: AsRef<str>>(name: &str, folder: &Path, args: &[A], waiting: impl Fn(Duration)) -> Result<String, BuildError> {
    let started = Command::new("go")
        .args(args.iter().map(AsRef::as_ref))
        .current_dir(folder)
        .env("GOWORK", "off")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(BuildError::NoGo(name.to_owned()));
        }
        error => at(Path::new("go"), error)?,
    };
    let printed = drain(child.stdout.take());
    let complaints = drain(child.stderr.take());
    let (start, mut said) = (Instant::now(), 0);
    let status = loop {
        if let Some(status) = at(Path::new("go"), child.try_wait())? {
            break status;
        }
        std::thread::sleep(Duration::from_millis(20));
        if start.elapsed().as_secs() / 10 > said {
            said += 1;
            waiting(start.elapsed());
        }
    };
    let (printed, complaints) = (printed.join().unwrap_or_default(), complaints.join().unwrap_or_default());
    if status.success() {
        return Ok(printed);
    }
    let all: Vec<_> = complaints.lines().chain(printed.lines()).collect();
    Err(BuildError::Go {
        name: name.to_owned(),
        args: args.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" "),
        output: all[all.len().saturating_sub(30)..].join("\n"),
    })
}

/// Reads a pipe to its end beside us, so that a full pipe never blocks the program.
fn drain(pipe: Option<impl io::Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.map(|mut pipe| io::Read::read_to_end(&mut pipe, &mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// `$XDG_CACHE_HOME/elpio-operator/components`.
fn cache() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir);
    base.join("elpio-operator").join("components")
}

fn key(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finalize()[..6].iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    at(path, fs::read(path))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    at(path, fs::write(path, bytes))
}

fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, BuildError> {
    result.map_err(|source| BuildError::File { path: path.to_owned(), source })
}
