//! The binaries of the real components: from `KUBEBUILDER_ASSETS`, or built once from Go modules. It may not
//! start them.

pub mod cargo;
pub mod clients;
mod go_build;

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use crate::{
    components::go_build::{build, get_or_build, go, is_built, key, read, write},
    progress::{print, update},
    repository_root,
};

pub use go_build::BuildError;

/// A program that is built from a Go module.
#[derive(Clone, Copy, Debug)]
pub struct Component {
    /// The binary's name.
    pub name: &'static str,
    /// The directory in `components/` with the go.mod and go.sum that pin it.
    module: &'static str,
    package: &'static str,
    ldflags: &'static str,
    tags: &'static str,
}

/// Without these flags the API server reports v0.0.0, and clients disable features.
const KUBERNETES_VERSION: &str = "-X k8s.io/component-base/version.gitVersion=v1.35.4 \
     -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=35";

const OLDEST_KUBERNETES_VERSION: &str = "-X k8s.io/component-base/version.gitVersion=v1.32.13 \
     -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=32";

/// The API server's storage.
pub const ETCD: Component =
    Component { name: "etcd", module: "etcd", package: "go.etcd.io/etcd/server/v3", ldflags: "", tags: "" };
/// The API server.
pub const KUBE_APISERVER: Component = Component {
    name: "kube-apiserver",
    module: "kubernetes",
    package: "k8s.io/kubernetes/cmd/kube-apiserver",
    ldflags: KUBERNETES_VERSION,
    tags: "",
};
/// Garbage collection, Deployments, service accounts, deletion of namespaces.
pub const KUBE_CONTROLLER_MANAGER: Component = Component {
    name: "kube-controller-manager",
    module: "kubernetes",
    package: "k8s.io/kubernetes/cmd/kube-controller-manager",
    ldflags: KUBERNETES_VERSION,
    tags: "",
};

/// Assigns pods to nodes.
pub const KUBE_SCHEDULER: Component = Component {
    name: "kube-scheduler",
    package: "k8s.io/kubernetes/cmd/kube-scheduler",
    ..KUBE_CONTROLLER_MANAGER
};

/// Stores traces.
pub const JAEGER: Component = Component {
    name: "jaeger",
    module: "jaeger",
    package: "github.com/jaegertracing/jaeger/cmd/jaeger",
    ldflags: "",
    tags: "",
};
/// Stores metrics.
pub const PROMETHEUS: Component = Component {
    name: "prometheus",
    module: "prometheus",
    package: "github.com/prometheus/prometheus/cmd/prometheus",
    ldflags: "",
    // Static targets and DNS are used; the SDKs of all clouds would triple the build.
    tags: "remove_all_sd,enable_dns_sd",
};
/// Checks metrics, configurations and rules.
pub const PROMTOOL: Component =
    Component { name: "promtool", package: "github.com/prometheus/prometheus/cmd/promtool", ..PROMETHEUS };
/// Pushes, pulls and validates images.
pub const CRANE: Component =
    Component::plain("crane", "registry", "github.com/google/go-containerregistry/cmd/crane");
/// A registry of images in memory.
pub const REGISTRY: Component =
    Component::plain("registry", "registry", "github.com/google/go-containerregistry/cmd/registry");
/// Builds the collector; see [`collector`].
const COLLECTOR_BUILDER: Component = Component {
    name: "ocb",
    module: "collector",
    package: "go.opentelemetry.io/collector/cmd/builder",
    ldflags: "",
    tags: "",
};

impl Component {
    /// A component that is built without flags or tags.
    pub(crate) const fn plain(name: &'static str, module: &'static str, package: &'static str) -> Self {
        Self { name, module, package, ldflags: "", tags: "" }
    }

    /// The path of the binary. If it is missing it is built first, which blocks for minutes.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn binary(&self) -> Result<PathBuf, BuildError> {
        if let Some(path) = provided(self.name) {
            return Ok(path);
        }
        let sources = self.sources()?;
        get_or_build(self.name, &self.key(&sources), |dir| {
            // In a copy of the manifest: `go` may update it, and the checkout may be read-only.
            for (name, bytes) in &sources {
                write(&dir.join(name), bytes)?;
            }
            build(self.name, Path::new("go"), dir, &self.build_args())?;
            Ok(dir.join(UNFINISHED))
        })
    }

    /// Whether the binary exists already.
    #[must_use]
    pub fn is_built(&self) -> bool {
        let built = |sources: Vec<Source>| is_built(self.name, &self.key(&sources));
        provided(self.name).is_some() || self.sources().is_ok_and(built)
    }

    /// go.mod, go.sum, and for a program of this repository its source.
    fn sources(&self) -> Result<Vec<Source>, BuildError> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("components").join(self.pinned().0);
        let own = (self.package == ".").then_some("main.go");
        let names = ["go.mod", "go.sum"].into_iter().chain(own);
        names.map(|name| Ok((name, read(&manifest.join(name))?))).collect()
    }

    /// The module's directory and the flags: those of the oldest supported Kubernetes where that is asked for.
    fn pinned(&self) -> (&'static str, &'static str) {
        let oldest = self.module == "kubernetes" && std::env::var_os("ELPIO_OLDEST_KUBERNETES").is_some();
        if oldest { ("kubernetes-oldest", OLDEST_KUBERNETES_VERSION) } else { (self.module, self.ldflags) }
    }

    fn key(&self, sources: &[Source]) -> String {
        let args = self.build_args().join(" ");
        let mut parts: Vec<&[u8]> = sources.iter().map(|(_, bytes)| bytes.as_slice()).collect();
        parts.insert(2, args.as_bytes());
        key(&parts)
    }

    fn build_args(&self) -> Vec<String> {
        let mut args: Vec<String> = ["build", "-trimpath", "-o", UNFINISHED].map(str::to_owned).to_vec();
        args.push("-ldflags".to_owned());
        args.push(format!("-s -w {}", self.pinned().1).trim_end().to_owned());
        if !self.tags.is_empty() {
            args.extend(["-tags".to_owned(), self.tags.to_owned()]);
        }
        args.push(self.package.to_owned());
        args
    }
}

/// A file's name and its content.
type Source = (&'static str, Vec<u8>);

/// The program in `KUBEBUILDER_ASSETS`, if it has one of that name.
fn provided(name: &str) -> Option<PathBuf> {
    let dir = std::env::var_os("KUBEBUILDER_ASSETS")?;
    Some(Path::new(&dir).join(name)).filter(|path| path.is_file())
}

/// The OpenTelemetry Collector with the components of `otel/collector-builder.yaml`, built by its own
/// builder.
///
/// # Errors
/// See [`BuildError`].
pub fn collector() -> Result<PathBuf, BuildError> {
    if let Some(path) = provided("otelcol") {
        return Ok(path);
    }
    let manifest = read(&repository_root().join("otel/collector-builder.yaml"))?;
    let builder = COLLECTOR_BUILDER.binary()?;
    get_or_build("otelcol", &key(&[&manifest, builder.to_string_lossy().as_bytes()]), |dir| {
        write(&dir.join("builder.yaml"), &manifest)?;
        build("otelcol", &builder, dir, &["--config=builder.yaml".to_owned()])?;
        Ok(dir.join("otelcol-source/otelcol"))
    })
}

/// Whether the collector exists already.
#[must_use]
pub fn collector_is_built() -> bool {
    let built = || {
        let manifest = read(&repository_root().join("otel/collector-builder.yaml")).ok()?;
        let builder = COLLECTOR_BUILDER.is_built().then(|| COLLECTOR_BUILDER.binary().ok()).flatten()?;
        Some(is_built("otelcol", &key(&[&manifest, builder.to_string_lossy().as_bytes()])))
    };
    provided("otelcol").is_some() || built().unwrap_or(false)
}

/// The binary's name while it is being built.
const UNFINISHED: &str = "unfinished";

/// The directory of a module in the Go module cache, downloaded if it is missing.
///
/// # Errors
/// See [`BuildError`].
pub fn module_dir(module: &str, version: &str) -> Result<PathBuf, BuildError> {
    let name = format!("{module}@{version}");
    let cache = go(&name, Path::new("."), &["env", "GOMODCACHE"], |_| ())?;
    let dir = Path::new(cache.trim()).join(&name);
    if dir.is_dir() {
        return Ok(dir);
    }
    let start = Instant::now();
    print(format_args!("Downloading {name} for its CRDs"));
    let json = go(&name, &std::env::temp_dir(), &["mod", "download", "-json", &name], |elapsed| {
        update(elapsed, format_args!("Downloading {name} … {} s", elapsed.as_secs()));
    })?;
    print(format_args!(" Downloaded {name} in {:.0} s", start.elapsed().as_secs_f32()));
    let answer: serde_json::Value = serde_json::from_str(&json).unwrap_or_default();
    answer["Dir"].as_str().map(PathBuf::from).ok_or_else(|| BuildError::Go {
        name,
        program: "go".to_owned(),
        args: "mod download -json".to_owned(),
        output: json.clone(),
    })
}
