//! Builds the operator with cargo, as a user would. It knows the binary's name only.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::repository_root;

/// Builds the operator, with cargo's progress on the terminal, and returns the path of the binary.
///
/// # Errors
/// If it does not compile: the compiler's messages are on the terminal.
pub fn build_operator(release: bool) -> Result<PathBuf, String> {
    let mut command = cargo_build();
    if release {
        command.arg("--release");
    }
    executable(command)
}

/// Builds the operator as the image has it, linked statically, but without optimization: a release build takes
/// minutes. `target` is a folder of its own, since every dependency is compiled again.
///
/// # Errors
/// As [`build_operator`].
pub fn build_static_operator(target: &Path) -> Result<PathBuf, String> {
    let mut command = cargo_build();
    command
        .args(["--target", &format!("{}-unknown-linux-gnu", std::env::consts::ARCH), "--locked"])
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    executable(command)
}

fn cargo_build() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args([
            "build",
            "--package",
            "elpio-operator",
            "--bin",
            "elpio-operator",
            "--message-format",
            "json-render-diagnostics",
        ])
        .current_dir(repository_root())
        .stderr(Stdio::inherit());
    command
}

/// The binary that a build reports.
fn executable(mut command: Command) -> Result<PathBuf, String> {
    // Build scripts depend on the variables that `cargo run` sets for this program: inherited, they would
    // cause a third of the dependencies to be rebuilt.
    let set_by_cargo_run = |name: &str| {
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"]
            .iter()
            .any(|start| name.starts_with(start))
    };
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(set_by_cargo_run)) {
        command.env_remove(name);
    }
    let output = command.output().map_err(|error| format!("cargo: {error}"))?;
    if !output.status.success() {
        return Err("the operator does not compile".to_owned());
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| "cargo reported no binary".to_owned())
}
