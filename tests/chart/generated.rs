//! The chart's copies of what is kept elsewhere, and `install.yaml`, which is rendered from the chart.
//! `UPDATE_GOLDEN=1` writes them.

use std::{fs, path::Path};

use elpio_cluster::components::clients::HELM_3;

use crate::{
    chart, program, read, top,
    values::{NAMESPACE, RELEASE},
};

const HEADER: &str = "# Installs Elpio: kubectl apply --server-side -f deploy/install.yaml\n\
    # Rendered from deploy/chart by `UPDATE_GOLDEN=1 cargo test --test chart generated`.\n";

/// Folders that the chart holds a copy of, as a chart may not reach outside of its own.
const COPIES: [(&str, &str, &str); 3] = [
    ("deploy/crds", "crds", "yaml"),
    ("dashboards", "dashboards", "json"),
    ("deploy/policies", "policies", "yaml"),
];

/// Writes the file, or fails where it differs.
pub(crate) fn compare(path: &Path, wanted: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, wanted).unwrap();
    }
    let found = fs::read_to_string(path).unwrap_or_default();
    let differs = found.lines().zip(wanted.lines()).position(|(found, wanted)| found != wanted);
    let line = differs.unwrap_or(found.lines().count().min(wanted.lines().count())) + 1;
    let path = path.display();
    assert!(
        found == wanted,
        "{path} differs in line {line}: UPDATE_GOLDEN=1 cargo test --test chart generated"
    );
}

fn files(dir: &str, extension: &str) -> Vec<String> {
    let entries = fs::read_dir(top().join(dir)).into_iter().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == extension))
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn the_chart_holds_the_crds_policies_dashboards_and_rules() {
    for (source, copy, extension) in COPIES {
        let copy = format!("deploy/chart/files/{copy}");
        let names = files(source, extension);
        assert!(!names.is_empty() || !top().join(source).exists(), "{source} has no {extension}");
        for name in &names {
            compare(&top().join(&copy).join(name), &read(format!("{source}/{name}")));
        }
        assert_eq!(files(&copy, extension), names, "{copy} has a file that {source} lacks");
    }
    compare(&chart().join("files/rules.yaml"), &read("dashboards/alerts/rules.yaml"));
}

/// Rendered as for `kubectl`: without what says that Helm manages it.
pub(crate) fn manifest(sets: &[&str]) -> String {
    let chart = chart();
    let mut args = vec!["template", RELEASE, chart.to_str().unwrap(), "--namespace", NAMESPACE, "--no-hooks"];
    for set in [&["createNamespace=true", "crds.keep=false"], sets].concat() {
        args.extend(["--set", set]);
    }
    let text = program(HELM_3).output(&args, "");
    let kept = text.lines().filter(|line| {
        let line = line.trim();
        let helms = line == "app.kubernetes.io/managed-by: Helm"
            || line.starts_with("helm.sh/chart:")
            || line.starts_with("# Source:");
        !line.is_empty() && !helms
    });
    let text = kept.collect::<Vec<_>>().join("\n");
    // Without documents of comments alone.
    let documents = text.split("---\n").filter(|document| document.contains("kind: "));
    let documents: Vec<String> =
        documents.map(|document| format!("---\n{}\n", document.trim_end())).collect();
    documents.concat()
}

#[test]
fn install_yaml_is_rendered_from_the_chart() {
    compare(&top().join("deploy/install.yaml"), &format!("{HEADER}{}", manifest(&[])));
}
