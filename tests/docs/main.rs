//! The documents: every `sh` block runs on a real API server, links and anchors resolve, and the API reference
//! is what the CRDs say. `UPDATE_GOLDEN=1 cargo test --test docs api_reference` writes the reference.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a test has to fail at once, and prints what it saw"
)]

mod api_reference;
mod blocks;
mod links;
mod markdown;
mod run;
mod versions;

use std::{fs, path::Path};

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The Markdown files below these folders of the repository, and those at its top; sorted.
fn pages(folders: &[&str]) -> Vec<String> {
    let mut found: Vec<String> = files(top(), false);
    for folder in folders {
        found.extend(files(&top().join(folder), true));
    }
    found.sort();
    found
}

fn files(dir: &Path, recursive: bool) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && recursive {
            found.extend(files(&path, true));
        } else if path.extension().is_some_and(|end| end == "md") {
            found.push(path.strip_prefix(top()).unwrap().display().to_string());
        }
    }
    found
}
