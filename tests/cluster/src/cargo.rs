//! The operator's binary, built by cargo as a user would. Knows its name and nothing else of it.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::crds::repository;

/// Builds the operator, with cargo's own progress on the terminal, and returns the binary.
///
/// # Errors
/// What went wrong; the compiler's own words are on the terminal then.
pub fn build_operator(release: bool) -> Result<PathBuf, String> {
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
        .current_dir(repository())
        .stderr(Stdio::inherit());
    if release {
        command.arg("--release");
    }
    // What `cargo run` says of the program that it runs is news to build scripts that look at it: a third of
    // the tree would be built again.
    let of_us = |name: &str| {
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"]
            .iter()
            .any(|start| name.starts_with(start))
    };
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_us)) {
        command.env_remove(name);
    }
    let output = command.output().map_err(|error| format!("cargo: {error}"))?;
    if !output.status.success() {
        return Err("the operator does not build".to_owned());
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| "cargo names no binary".to_owned())
}
