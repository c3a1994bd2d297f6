//! Runs Go, and keeps what it built outside the checkout. Knows no component.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};

use crate::report::{progress, say};

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
    #[error("{name} could not be built: {program} {args}\n{output}")]
    Go {
        /// What was built.
        name: String,
        /// What was run, and with what.
        program: String,
        /// Its arguments.
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

/// Whether [`once`] has nothing to do.
pub(crate) fn is_there(name: &str, key: &str) -> bool {
    cache().join(format!("{name}-{key}")).join(name).is_file()
}

/// The binary in its folder of the cache; when it is not there, `make` says where it has put it.
pub(crate) fn once(
    name: &str,
    key: &str,
    make: impl FnOnce(&Path) -> Result<PathBuf, BuildError>,
) -> Result<PathBuf, BuildError> {
    let folder = cache().join(format!("{name}-{key}"));
    let binary = folder.join(name);
    if binary.is_file() {
        return Ok(binary);
    }
    at(&folder, fs::create_dir_all(&folder))?;
    let _lock = lock(name, &folder)?;
    if !binary.is_file() {
        let built = make(&folder)?;
        at(&built, fs::rename(&built, &binary))?;
    }
    Ok(binary)
}

/// Held while building, so that test processes side by side build once.
fn lock(name: &str, folder: &Path) -> Result<File, BuildError> {
    let path = folder.join("lock");
    let lock = at(&path, File::create(&path))?;
    if lock.try_lock().is_err() {
        say(format_args!("   Waiting for another process that builds {name}"));
        at(&path, lock.lock())?;
    }
    Ok(lock)
}

pub(crate) fn build(name: &str, program: &Path, folder: &Path, args: &[String]) -> Result<(), BuildError> {
    say(format_args!("  Building {name} from Go modules (once; kept in {})", folder.display()));
    let start = Instant::now();
    run(name, program, folder, args, |elapsed| {
        progress(elapsed, format_args!("  Building {name} … {} s", elapsed.as_secs()))
    })?;
    say(format_args!("     Built {name} in {:.0} s", start.elapsed().as_secs_f32()));
    Ok(())
}

/// Runs `go`, calling `waiting` every second; returns what it printed.
pub(crate) fn go<A: AsRef<str>>(
    name: &str,
    folder: &Path,
    args: &[A],
    waiting: impl Fn(Duration),
) -> Result<String, BuildError> {
    run(name, Path::new("go"), folder, args, waiting)
}

/// Runs `go`, or a program that runs it, calling `waiting` every second; returns what it printed.
fn run<A: AsRef<str>>(
    name: &str,
    program: &Path,
    folder: &Path,
    args: &[A],
    waiting: impl Fn(Duration),
) -> Result<String, BuildError> {
    let started = Command::new(program)
        .args(args.iter().map(AsRef::as_ref))
        .current_dir(folder)
        .env("GOWORK", "off")
        // The collector's builder leaves an empty folder there; go itself ignores a go.mod that lies there.
        .env("TMPDIR", if program == Path::new("go") { std::env::temp_dir() } else { folder.to_owned() })
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
    let printed = drain(child.stdout.take());
    let complaints = drain(child.stderr.take());
    let (start, mut said) = (Instant::now(), 0);
    let status = loop {
        if let Some(status) = at(program, child.try_wait())? {
            break status;
        }
        std::thread::sleep(Duration::from_millis(20));
        if start.elapsed().as_secs() > said {
            said = start.elapsed().as_secs();
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
        program: program.display().to_string(),
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
