//! `cargo run -p elpio-release -- OUT`: everything of a release in one folder, with checksums. It sends
//! nothing anywhere.
#![allow(clippy::print_stdout, reason = "a command for people: it prints what it made")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use elpio_release::{
    archive::{self, Member, Members},
    image,
    oci::{ImageConfig, layout},
    sbom::sbom,
    sha256,
};
use serde_json::Value;

const USAGE: &str = "\
Makes a release of Elpio: a static binary, its image as an OCI layout, the chart, the manifests, the SBOM, and SHA256SUMS.

Usage: cargo run -p elpio-release -- [OPTIONS] OUT

  OUT             the folder to make; it must not exist
  --allow-dirty   also with changes that are not committed
  --arm64         for aarch64; needs the Rust target and aarch64-linux-gnu-gcc
  --binary FILE   take this static binary and build none

SOURCE_DATE_EPOCH, or the commit's time, is the time of every file.";

#[derive(Debug, thiserror::Error)]
enum ReleaseError {
    #[error("{0}\n\n{usage}", usage = USAGE)]
    Usage(String),
    #[error("{0}")]
    Refused(String),
    #[error("{0}: {1}")]
    File(String, #[source] std::io::Error),
}

struct Options {
    out: PathBuf,
    allow_dirty: bool,
    arm64: bool,
    binary: Option<PathBuf>,
}

fn options(arguments: impl Iterator<Item = String>) -> Result<Options, ReleaseError> {
    let mut options = Options { out: PathBuf::new(), allow_dirty: false, arm64: false, binary: None };
    let mut arguments = arguments.skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--allow-dirty" => options.allow_dirty = true,
            "--arm64" => options.arm64 = true,
            "--binary" => options.binary = arguments.next().map(PathBuf::from),
            option if option.starts_with('-') => {
                return Err(ReleaseError::Usage(format!("{option} is no option")));
            }
            _ if options.out.as_os_str().is_empty() => options.out = PathBuf::from(argument),
            _ => return Err(ReleaseError::Usage("OUT is one folder".to_owned())),
        }
    }
    if options.out.as_os_str().is_empty() {
        return Err(ReleaseError::Usage("OUT is missing".to_owned()));
    }
    Ok(options)
}

fn main() -> ExitCode {
    match options(std::env::args()).and_then(|options| release(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("elpio-release: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The top of the checkout.
fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).to_owned()
}

fn output(program: &str, arguments: &[&str]) -> Result<String, ReleaseError> {
    let name = format!("{program} {}", arguments.join(" "));
    let found = Command::new(program).args(arguments).current_dir(top()).output();
    let found = found.map_err(|error| ReleaseError::File(name.clone(), error))?;
    if !found.status.success() {
        let why = String::from_utf8_lossy(&found.stderr).trim().to_owned();
        return Err(ReleaseError::Refused(format!("{name} failed: {why}")));
    }
    Ok(String::from_utf8_lossy(&found.stdout).trim().to_owned())
}

fn read(path: &Path) -> Result<Vec<u8>, ReleaseError> {
    fs::read(path).map_err(|error| ReleaseError::File(path.display().to_string(), error))
}

const ARM64_LINKER: &str = "aarch64-linux-gnu-gcc";

/// Whether the tools for another architecture are there; a build would fail late, with many lines.
fn can_build_for(target: &str) -> Result<(), ReleaseError> {
    let refused = |what: &str, how: &str| ReleaseError::Refused(format!("--arm64 needs {what}: {how}"));
    let libraries = output("rustc", &["--print", "target-libdir", "--target", target])?;
    if !Path::new(&libraries).is_dir() {
        let how = format!("rustup target add {target}");
        return Err(refused(&format!("the Rust target {target}"), &how));
    }
    output(ARM64_LINKER, &["--version"])
        .map_err(|_| refused(ARM64_LINKER, "apt-get install gcc-aarch64-linux-gnu"))?;
    Ok(())
}

/// The binary, linked statically against glibc: it resolves names by itself.
fn build(target: &str, options: &Options, revision: &str) -> Result<Vec<u8>, ReleaseError> {
    if let Some(binary) = &options.binary {
        return read(binary);
    }
    output("make", &["--version"])
        .map_err(|_| ReleaseError::Refused("jemalloc needs make: apt-get install make".to_owned()))?;
    let home = std::env::var("CARGO_HOME")
        .unwrap_or_else(|_| format!("{}/.cargo", std::env::var("HOME").unwrap_or_default()));
    let top = top();
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| top.join("target"), PathBuf::from);
    let folder = folder.join("release-image");
    // Two folders give the same bytes.
    let flags = format!(
        "-C target-feature=+crt-static --remap-path-prefix={}=/src --remap-path-prefix={home}=/cargo",
        top.display()
    );
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--release", "--locked", "--package", "elpio-operator", "--bin", "elpio-operator"])
        .args(["--target", target])
        .current_dir(&top)
        .env("RUSTFLAGS", flags)
        .env("CARGO_TARGET_DIR", &folder)
        .env("ELPIO_REVISION", revision);
    if options.arm64 {
        command.env("CC_aarch64_unknown_linux_gnu", ARM64_LINKER);
        // The pages of a node may have 64 KiB, and jemalloc must know the largest.
        command.env("JEMALLOC_SYS_WITH_LG_PAGE", "16");
        command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", ARM64_LINKER);
    }
    let status = command.status().map_err(|error| ReleaseError::File("cargo".to_owned(), error))?;
    if !status.success() {
        return Err(ReleaseError::Refused("the operator does not compile".to_owned()));
    }
    read(&folder.join(target).join("release/elpio-operator"))
}

/// The chart as Helm packages it: a folder named like it; `None` where there is none.
fn chart(time: u64) -> Result<Option<Vec<u8>>, ReleaseError> {
    let folder = top().join("deploy/chart");
    if !folder.join("Chart.yaml").is_file() {
        return Ok(None);
    }
    let mut members = Members::new();
    let mut waiting = vec![folder.clone()];
    while let Some(next) = waiting.pop() {
        let name = next.display().to_string();
        for entry in fs::read_dir(&next).map_err(|error| ReleaseError::File(name.clone(), error))? {
            let path = entry.map_err(|error| ReleaseError::File(name.clone(), error))?.path();
            if path.is_dir() {
                waiting.push(path);
            } else if let Ok(inside) = path.strip_prefix(&folder) {
                members.insert(
                    format!("elpio-operator/{}", inside.display()),
                    Member::File(0o644, read(&path)?),
                );
            }
        }
    }
    archived(archive::tar(&members, time).and_then(|tar| archive::gzip(&tar))).map(Some)
}

fn archived<T>(made: std::io::Result<T>) -> Result<T, ReleaseError> {
    made.map_err(|error| ReleaseError::File("an archive".to_owned(), error))
}

fn release(options: &Options) -> Result<(), ReleaseError> {
    if options.out.exists() {
        return Err(ReleaseError::Refused(format!("{} exists already", options.out.display())));
    }
    let dirty = output("git", &["status", "--porcelain"])?;
    if !dirty.is_empty() && !options.allow_dirty {
        let first = dirty.lines().next().unwrap_or_default();
        return Err(ReleaseError::Refused(format!(
            "there are changes that are not committed ({first}): commit them, or add --allow-dirty"
        )));
    }
    let revision = output("git", &["rev-parse", "--short=12", "HEAD"])?;
    let time = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(time) => time,
        Err(_) => output("git", &["log", "-1", "--format=%ct"])?,
    };
    let time: u64 =
        time.parse().map_err(|_| ReleaseError::Refused(format!("SOURCE_DATE_EPOCH={time}: no number")))?;
    let (target, architecture) = if options.arm64 {
        ("aarch64-unknown-linux-gnu", "arm64")
    } else {
        ("x86_64-unknown-linux-gnu", "amd64")
    };
    if options.arm64 && options.binary.is_none() {
        can_build_for(target)?;
    }
    let version = env!("CARGO_PKG_VERSION");
    let metadata =
        output("cargo", &["metadata", "--locked", "--format-version=1", "--filter-platform", target])?;
    let metadata: Value = serde_json::from_str(&metadata).unwrap_or_default();
    let created = i64::try_from(time).ok().and_then(|time| jiff::Timestamp::from_second(time).ok());
    let lock = String::from_utf8_lossy(&read(&top().join("Cargo.lock"))?).into_owned();
    let sbom = format!("{:#}\n", sbom(&metadata, &lock, &created.unwrap_or_default().to_string()));
    let binary = build(target, options, &revision)?;
    let config = ImageConfig { version: version.to_owned(), revision, architecture, time };
    let image = archived(layout(&image::members(binary.clone(), sbom.clone().into_bytes()), &config))?;

    let name = format!("elpio-operator-{version}-linux-{architecture}");
    let mut files = BTreeMap::from([
        (name.clone(), binary),
        (format!("{name}.oci.tar"), archived(image.to_tar(time))?),
        (format!("{name}.cdx.json"), sbom.into_bytes()),
        ("install.yaml".to_owned(), read(&top().join("deploy/install.yaml"))?),
    ]);
    files.extend(chart(time)?.map(|chart| (format!("elpio-operator-{version}.tgz"), chart)));
    for crd in ["elpio.io_elpioservices.yaml", "elpio.io_elpiofunctions.yaml"] {
        files.insert(crd.to_owned(), read(&top().join("deploy/crds").join(crd))?);
    }
    let sums: Vec<String> = files.iter().map(|(name, bytes)| format!("{}  {name}", sha256(bytes))).collect();
    let sums = sums.join("\n") + "\n";
    files.insert("SHA256SUMS".to_owned(), sums.clone().into_bytes());
    write(&options.out, &name, &files)?;
    println!("{sums}\nimage {}", image.digest);
    Ok(())
}

fn write(out: &Path, program: &str, files: &BTreeMap<String, Vec<u8>>) -> Result<(), ReleaseError> {
    use std::os::unix::fs::PermissionsExt as _;
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |error| ReleaseError::File(path, error)
    };
    fs::create_dir_all(out).map_err(failed(out))?;
    for (name, bytes) in files {
        let path = out.join(name);
        fs::write(&path, bytes).map_err(failed(&path))?;
        if name == program {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(failed(&path))?;
        }
    }
    Ok(())
}
