//! The image without an engine: the same bytes twice, accepted by a registry, and an operator that becomes ready
//! from it as its user, on a root that cannot be written. It needs Linux and cargo.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a test has to fail at once, and says what it saw"
)]

mod context;
mod registry;
mod start;

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use elpio_cluster::repository_root;
use elpio_release::{
    archive::{Member, Members},
    image,
    oci::{ImageConfig, OciLayout, layout},
    sbom::sbom,
};
use serde_json::Value;

/// A commit's time.
const TIME: u64 = 1_767_225_600;

/// Beside the folder of this binary: cargo's own target folder, which is kept.
fn static_target() -> PathBuf {
    let suite = std::env::current_exe().unwrap();
    suite.ancestors().nth(3).unwrap().join("static")
}

/// The operator, linked statically.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| elpio_cluster::cargo::build_static_operator(&static_target()).unwrap())
}

fn components() -> Value {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version=1", "--filter-platform", &target])
        .current_dir(repository_root())
        .output()
        .unwrap();
    let metadata = serde_json::from_slice(&output.stdout).unwrap();
    let lock = std::fs::read_to_string(repository_root().join("Cargo.lock")).unwrap();
    sbom(&metadata, &lock, "2026-01-01T00:00:00Z")
}

fn members() -> Members {
    image::members(std::fs::read(binary()).unwrap(), components().to_string().into_bytes())
}

fn made(members: &Members) -> OciLayout {
    let config = ImageConfig {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        revision: "0123456789ab".to_owned(),
        architecture: if std::env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" },
        time: TIME,
    };
    layout(members, &config).unwrap()
}

#[test]
fn two_images_of_one_binary_are_byte_equal() {
    // A part of the binary is enough, and an unoptimized gzip is slow.
    let mut binary = std::fs::read(binary()).unwrap();
    binary.truncate(4 << 20);
    let members = || image::members(binary.clone(), components().to_string().into_bytes());
    let (first, second) = (made(&members()), made(&members()));
    assert_eq!(first.digest, second.digest);
    assert!(first == second, "files differ");
    assert_eq!(first.to_tar(TIME).unwrap(), second.to_tar(TIME).unwrap());
    println!("{} in {} bytes", first.digest, first.to_tar(TIME).unwrap().len());
}

#[test]
fn it_has_one_program_and_no_shell() {
    let members = members();
    let files: Vec<&str> = members.keys().map(String::as_str).collect();
    assert_eq!(
        files,
        [
            "etc/group",
            "etc/passwd",
            "etc/ssl/certs/ca-certificates.crt",
            "usr/local/bin/elpio-operator",
            "usr/local/bin/kubectl-elpio",
            "usr/share/sbom/elpio-operator.cdx.json",
        ]
    );
    let executable = |member: &Member| matches!(member, Member::File(mode, _) if mode & 0o111 != 0);
    assert_eq!(members.values().filter(|member| executable(member)).count(), 1);
    assert!(image::certificates().matches("BEGIN CERTIFICATE").count() > 100);
}

#[test]
fn the_sbom_has_what_is_linked_and_nothing_else() {
    let sbom = components();
    let names: Vec<&str> =
        sbom["components"].as_array().unwrap().iter().filter_map(|c| c["name"].as_str()).collect();
    for linked in ["kube", "tokio", "rustls", "opentelemetry-otlp", "ring"] {
        assert!(names.contains(&linked), "{linked} is not in {names:?}");
    }
    // Of the tests, of build scripts, of another operating system.
    for other in ["elpio-cluster", "comfy-table", "cc", "windows-sys", "webpki-root-certs", "tar"] {
        assert!(!names.contains(&other), "{other}");
    }
    let complete = |c: &&Value| c["hashes"][0]["content"].as_str().is_some_and(|sum| sum.len() == 64);
    let components = sbom["components"].as_array().unwrap();
    assert_eq!(components.iter().filter(complete).count(), components.len());
    assert_eq!(sbom["metadata"]["component"]["name"], "elpio-operator");
    println!("{} components", components.len());
}
