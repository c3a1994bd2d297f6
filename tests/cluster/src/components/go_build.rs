//! Runs Go, and caches what it builds outside the checkout. It knows no component.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};

use crate::progress::{print, update};

/// Why a component is not available.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Go is not installed.
    #[error(
        "{0} has to be built, and `go` is not on the PATH: install Go (https://go.dev/dl), or set KUBEBUILDER_ASSETS to a directory with \
         etcd, kube-apiserver and kube-controller-manager"
    )]
    NoGo(String),
    /// The build failed.
    #[error("{name} could not be built: {program} {args}\n{output}")]
    Go {
        /// What was built.
        name: String,
        /// The command that was run.
        program: String,
        /// Its arguments.
        args: String,
        /// The end of what it printed.
        output: String,
    },
    /// A file in the cache cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Whether the cache has this binary.
pub(crate) fn is_built(name: &str, key: &str) -> bool {
    cache().join(format!("{name}-{key}")).join(name).is_file()
}

/// The binary in the cache. If it is missing, `make` builds it in the given directory and returns its path.
pub(crate) fn get_or_build(
    name: &str,
    key: &str,
    make: impl FnOnce(&Path) -> Result<PathBuf, BuildError>,
) -> Result<PathBuf, BuildError> {
    let dir = cache().join(format!("{name}-{key}"));
    let binary = dir.join(name);
    if binary.is_file() {
        return Ok(binary);
    }
    at(&dir, fs::create_dir_all(&dir))?;
    let _lock = lock(name, &dir)?;
    if !binary.is_file() {
        let built = make(&dir)?;
        at(&built, fs::rename(&built, &binary))?;
    }
    Ok(binary)
}

/// Held during a build, so that parallel test processes build once.
fn lock(name: &str, dir: &Path) -> Result<File, BuildError> {
    let path = dir.join("lock");
    let lock = at(&path, File::create(&path))?;
    if lock.try_lock().is_err() {
        print(format_args!("   Waiting for another process that is building {name}"));
        at(&path, lock.lock())?;
    }
    Ok(lock)
}

pub(crate) fn build(name: &str, program: &Path, dir: &Path, args: &[String]) -> Result<(), BuildError> {
    print(format_args!("  Building {name} from Go modules (once; cached in {})", dir.display()));
    let start = Instant::now();
    run(name, program, dir, args, |elapsed| {
        update(elapsed, format_args!("  Building {name} … {} s", elapsed.as_secs()));
    })?;
    print(format_args!("     Built {name} in {:.0} s", start.elapsed().as_secs_f32()));
    Ok(())
}

/// Runs `go` and returns its output; `on_tick` is called every second.
pub(crate) fn go<A: AsRef<str>>(
    name: &str,
    dir: &Path,
    args: &[A],
    on_tick: impl Fn(Duration),
) -> Result<String, BuildError> {
    run(name, Path::new("go"), dir, args, on_tick)
}

/// Runs `go`, or a program that runs it, and returns its output; `on_tick` is called every second.
fn run<A: AsRef<str>>(
    name: &str,
    program: &Path,
    dir: &Path,
    args: &[A],
    on_tick: impl Fn(Duration),
) -> Result<String, BuildError> {
    let started = Command::new(program)
        .args(args.iter().map(AsRef::as_ref))
        .current_dir(dir)
        .env("GOWORK", "off")
        // The collector's builder leaves an empty directory behind; go ignores a go.mod in TMPDIR.
        .env("TMPDIR", if program == Path::new("go") { std::env::temp_dir() } else { dir.to_owned() })
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(BuildError::NoGo(name.to_owned()));
        }
        error => at(program, error)?,
    };
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let (start, mut ticks) = (Instant::now(), 0);
    let status = loop {
        if let Some(status) = at(program, child.try_wait())? {
            break status;
        }
        std::thread::sleep(Duration::from_millis(20));
        if start.elapsed().as_secs() > ticks {
            ticks = start.elapsed().as_secs();
            on_tick(start.elapsed());
        }
    };
    let (stdout, stderr) = (stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default());
    if status.success() {
        return Ok(stdout);
    }
    let all: Vec<_> = stderr.lines().chain(stdout.lines()).collect();
    Err(BuildError::Go {
        name: name.to_owned(),
        program: program.display().to_string(),
        args: args.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" "),
        output: all[all.len().saturating_sub(30)..].join("\n"),
    })
}

/// Reads a pipe to its end on a thread, so that a full pipe never blocks the program.
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

pub(crate) fn key(parts: &[&[u8]]) -> String {
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

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    at(path, fs::read(path))
}

pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    at(path, fs::write(path, bytes))
}

fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, BuildError> {
    result.map_err(|source| BuildError::File { path: path.to_owned(), source })
}
