//! The support matrix names the versions that the tests run, as they are pinned.

use crate::read;

/// The row's name, the component's go.mod and the module in it.
const PINNED: [(&str, &str, &str); 9] = [
    ("Kubernetes", "kubernetes", "k8s.io/kubernetes"),
    ("Kubernetes", "kubernetes-oldest", "k8s.io/kubernetes"),
    ("Knative Serving", "knative", "knative.dev/serving"),
    ("KEDA", "keda", "github.com/kedacore/keda/v2"),
    ("KEDA HTTP add-on", "http-add-on", "github.com/kedacore/http-add-on"),
    ("Tekton Pipelines", "tekton", "github.com/tektoncd/pipeline"),
    ("Helm", "helm3", "helm.sh/helm/v3"),
    ("Helm", "helm4", "helm.sh/helm/v4"),
    ("kustomize", "kustomize", "sigs.k8s.io/kustomize/kustomize/v5"),
];

fn row(matrix: &str, name: &str) -> String {
    let start = format!("| {name} |");
    matrix.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("no row {name}")).to_owned()
}

#[test]
fn the_support_matrix_names_the_tested_versions() {
    let matrix = read("docs/support-matrix.md");
    for (name, component, module) in PINNED {
        let go_mod = read(&format!("tests/cluster/components/{component}/go.mod"));
        let pinned = go_mod.lines().find_map(|line| {
            let line = line.trim().strip_prefix("require ").unwrap_or(line.trim());
            line.strip_prefix(&format!("{module} v"))?.split(' ').next()
        });
        let version = pinned.unwrap_or_else(|| panic!("{component} does not pin {module}"));
        assert!(row(&matrix, name).contains(version), "{name}: {version} is tested");
    }
    // CRDs alone.
    let crds = read("tests/cluster/src/control_plane/crds.rs");
    for (name, module) in [
        ("cert-manager", "github.com/cert-manager/cert-manager"),
        ("External Secrets", "github.com/external-secrets/external-secrets"),
    ] {
        let after = crds.split(&format!("\"{module}\"")).nth(1).unwrap();
        let version = after.split('"').nth(1).unwrap().trim_start_matches('v');
        assert!(row(&matrix, name).contains(version), "{name}: {version} is tested");
    }
    let oldest = read("deploy/chart/Chart.yaml");
    assert!(oldest.contains("kubeVersion: \">=1.32"), "{oldest}");
}
