//! The scripts of a build, run by `sh` as a step would run them: with git, tar and unzip for real, servers on
//! loopback, and a stand-in for `curl` that copies a file or asks such a server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod archive;
mod bytes;
mod digest;
mod download;
mod git;
mod refused;
mod room;
mod server;
mod source;
mod submodules;

use std::{fs, path::Path};

/// The scripts that were run here are those that are sent.
#[test]
fn the_golden_runs_hold_these_scripts() {
    let golden =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/function/git-minimal.children.yaml");
    let first = fs::read_to_string(golden).unwrap().split("\n---\n").next().unwrap().to_owned();
    let run: serde_json::Value = serde_saphyr::from_str(&first).unwrap();
    let steps = run["spec"]["pipelineSpec"]["tasks"][0]["taskSpec"]["steps"].as_array().unwrap();
    let script = |name: &str| steps.iter().find(|step| step["name"] == name).unwrap()["script"].clone();
    assert_eq!(script("fetch"), room::FETCH, "UPDATE_GOLDEN=1 cargo test --test pure writes it anew");
    assert_eq!(script("digest"), digest::DIGEST, "UPDATE_GOLDEN=1 cargo test --test pure writes it anew");
}
