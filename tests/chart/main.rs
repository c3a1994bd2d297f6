//! The Helm chart: its schema, what it renders for many values, and its life on a real API server. What is
//! derived from it (`install.yaml`, the kustomization) is compared here, and so is what delivery tools make of
//! statuses.
//! `UPDATE_GOLDEN=1 cargo test --test chart generated` writes what is derived.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a test has to fail at once, and prints what it saw"
)]

mod generated;
mod gitops;
mod helm_test;
mod incomplete;
mod kustomization;
mod life;
mod rendered;
mod site;
mod values;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use elpio_cluster::{
    components::{
        Component,
        clients::{ClientProgram, HELM_3, HELM_4},
    },
    process::TempDir,
};
use serde_json::Value;

static HOME: LazyLock<TempDir> = LazyLock::new(|| TempDir::new("chart"));

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn chart() -> PathBuf {
    top().join("deploy/chart")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = top().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn program(component: Component) -> ClientProgram {
    ClientProgram::new(component, HOME.path()).unwrap_or_else(|error| panic!("{error}"))
}

fn helms() -> [ClientProgram; 2] {
    [program(HELM_3), program(HELM_4)]
}

/// A file with values; JSON is YAML.
fn values_file(name: &str, values: &Value) -> PathBuf {
    let path = HOME.path().join(format!("{}.json", name.replace([' ', '/', ':'], "-")));
    fs::write(&path, values.to_string()).unwrap();
    path
}

/// The documents of a YAML text, without empty ones.
fn documents(text: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    all.into_iter().filter(|document| !document.is_null()).collect()
}

fn identity(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!(
        "{} {}/{}",
        text(&object["kind"]),
        text(&object["metadata"]["namespace"]),
        text(&object["metadata"]["name"])
    )
}
