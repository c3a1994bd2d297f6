//! Tells the program what it was built from: the revision and the compiler, as `/version` and
//! `elpio.build_info` show them.

use std::{path::Path, process::Command};

fn output_of(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok().filter(|o| o.status.success())?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// What changes with the revision, wherever git keeps it. A worktree has a HEAD of its own; its log grows with
/// every commit and checkout. Without a log, it is the branch: a file of its own, or a line among the packed ones.
fn files_of_head() -> Vec<String> {
    let path = |name: &str| {
        output_of("git", &["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists())
    };
    let log = path("logs/HEAD");
    let branches = if log.is_some() { vec![] } else { vec![path("refs/heads"), path("packed-refs")] };
    [path("HEAD"), log].into_iter().chain(branches).flatten().collect()
}

fn main() {
    let rustc = std::env::var("RUSTC").ok().and_then(|rustc| output_of(&rustc, &["--version"]));
    let rustc = rustc.and_then(|text| text.split(' ').nth(1).map(str::to_owned));
    // An image build has no history at hand and hands the revision in.
    let revision = std::env::var("ELPIO_REVISION")
        .ok()
        .or_else(|| output_of("git", &["rev-parse", "--short=12", "HEAD"]));
    println!("cargo::rustc-env=ELPIO_RUSTC={}", rustc.as_deref().unwrap_or("unknown"));
    println!("cargo::rustc-env=ELPIO_REVISION={}", revision.as_deref().unwrap_or("unknown"));
    println!("cargo::rerun-if-env-changed=ELPIO_REVISION");
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("ELPIO_REVISION").is_none() {
        // A file that is absent would run this again with every build.
        for file in files_of_head() {
            println!("cargo::rerun-if-changed={file}");
        }
    }
}
