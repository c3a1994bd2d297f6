//! The support matrix names the versions that the tests run, as they are pinned.

use elpio_operator::foreign::support::{ENGINES, KUBERNETES};

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

/// A cell of the component's row.
fn cell(matrix: &str, name: &str, column: usize) -> String {
    row(matrix, name).split('|').nth(column + 1).unwrap().trim().to_owned()
}

fn tested(matrix: &str, name: &str) -> String {
    cell(matrix, name, 1)
}

/// The version of a module that a component's go.mod pins.
fn pinned(component: &str, module: &str) -> String {
    let go_mod = read(&format!("tests/cluster/components/{component}/go.mod"));
    let version = go_mod.lines().find_map(|line| {
        let line = line.trim().strip_prefix("require ").unwrap_or(line.trim());
        line.strip_prefix(&format!("{module} v"))?.split(' ').next()
    });
    version.unwrap_or_else(|| panic!("{component} does not pin {module}")).to_owned()
}

#[test]
fn the_support_matrix_names_the_tested_versions() {
    let matrix = read("docs/support-matrix.md");
    for (name, component, module) in PINNED {
        let version = pinned(component, module);
        assert!(row(&matrix, name).contains(&version), "{name}: {version} is tested");
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
    let builder = read("otel/collector-builder.yaml");
    let collector = builder.lines().find_map(|line| line.trim().strip_prefix("version: ")).unwrap();
    assert!(row(&matrix, "OpenTelemetry Collector").contains(collector), "{collector} is tested");
    // Prometheus 3.11.0 is module version 0.311.0, and Jaeger's is its own.
    let prometheus = pinned("prometheus", "github.com/prometheus/prometheus");
    let minor = prometheus.split('.').nth(1).and_then(|minor| minor.strip_prefix('3')).unwrap().to_owned();
    assert!(tested(&matrix, "Prometheus").starts_with(&format!("3.{minor}")), "{prometheus} is tested");
    let jaeger = pinned("jaeger", "github.com/jaegertracing/jaeger");
    assert!(tested(&matrix, "Jaeger").starts_with(&jaeger), "{jaeger} is tested");
}

/// The page and `elpio-operator check` say the same: the oldest version, and the minor version that is tested.
#[test]
fn the_support_matrix_is_that_of_check() {
    let matrix = read("docs/support-matrix.md");
    for supported in std::iter::once(&KUBERNETES).chain(&ENGINES) {
        let (name, oldest) = (supported.project, supported.oldest.to_string());
        let expected = cell(&matrix, name, 2);
        assert!(
            expected == format!("{oldest} and later") || expected.starts_with(&format!("{oldest} to ")),
            "{name}: {expected}, not {oldest}"
        );
        let tested = tested(&matrix, name);
        let minor = format!("{}.", supported.tested);
        let is_release = tested.contains(&format!("release {};", supported.tested));
        assert!(tested.starts_with(&minor) || is_release, "{name}: {tested}, not {minor}");
        if let Some((from, _)) = supported.deprecated {
            assert!(matrix.contains(&format!("since {from}")), "{name}: deprecated since {from}");
        }
    }
    let chart = read("deploy/chart/Chart.yaml");
    assert!(chart.contains(&format!("kubeVersion: \">={}", KUBERNETES.oldest)), "{chart}");
    let install = read("docs/install.md");
    assert!(install.contains(&format!("Kubernetes {} or later", KUBERNETES.oldest)));
}
