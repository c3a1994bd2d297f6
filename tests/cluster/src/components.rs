//! The binaries of the real components: from `KUBEBUILDER_ASSETS`, else built once from Go modules. How that
//! is done is not its business.

pub use crate::go_build::BuildError;
use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use crate::{
    go_build::{build, go, is_there, key, once, read, write},
    report::{progress, say},
};

/// A program that is built from a Go module.
#[derive(Clone, Copy, Debug)]
pub struct Component {
    /// The binary's name.
    pub name: &'static str,
    /// The folder of `components/` whose go.mod and go.sum resolve it.
    module: &'static str,
    package: &'static str,
    ldflags: &'static str,
    tags: &'static str,
}

/// Without it the API server calls itself v0.0.0, and clients refuse features.
const KUBERNETES_VERSION: &str = "-X k8s.io/component-base/version.gitVersion=v1.35.4 \
     -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=35";

/// The store.
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
/// Garbage collection, Deployments, service accounts, namespaces' ends.
pub const KUBE_CONTROLLER_MANAGER: Component = Component {
    name: "kube-controller-manager",
    module: "kubernetes",
    package: "k8s.io/kubernetes/cmd/kube-controller-manager",
    ldflags: KUBERNETES_VERSION,
    tags: "",
};

/// Gives pods to nodes.
pub const KUBE_SCHEDULER: Component = Component {
    name: "kube-scheduler",
    package: "k8s.io/kubernetes/cmd/kube-scheduler",
    ..KUBE_CONTROLLER_MANAGER
};

/// Takes traces, and answers by their ids.
pub const JAEGER: Component = Component {
    name: "jaeger",
    module: "jaeger",
    package: "github.com/jaegertracing/jaeger/cmd/jaeger",
    ldflags: "",
    tags: "",
};
/// Takes metrics, and answers queries.
pub const PROMETHEUS: Component = Component {
    name: "prometheus",
    module: "prometheus",
    package: "github.com/prometheus/prometheus/cmd/prometheus",
    ldflags: "",
    // Targets are named in its file: every cloud's SDK would triple its size and its build.
    tags: "remove_all_sd",
};
/// Checks metrics pages, configurations and rules.
pub const PROMTOOL: Component =
    Component { name: "promtool", package: "github.com/prometheus/prometheus/cmd/promtool", ..PROMETHEUS };
/// Builds the collector, see [`collector`].
const COLLECTOR_BUILDER: Component = Component {
    name: "ocb",
    module: "collector",
    package: "go.opentelemetry.io/collector/cmd/builder",
    ldflags: "",
    tags: "",
};

impl Component {
    /// One that is built without flags or tags.
    pub(crate) const fn plain(name: &'static str, module: &'static str, package: &'static str) -> Self {
        Self { name, module, package, ldflags: "", tags: "" }
    }

    /// The path of the binary, which is built first when it is not there. Blocks for minutes then.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn binary(&self) -> Result<PathBuf, BuildError> {
        if let Some(path) = given(self.name) {
            return Ok(path);
        }
        let (go_mod, go_sum, args) = self.sources()?;
        let key = key(&[&go_mod, &go_sum, args.join(" ").as_bytes()]);
        once(self.name, &key, |folder| {
            // Beside a copy of the manifest: `go` may want to write there, and a checkout may be read-only.
            write(&folder.join("go.mod"), &go_mod)?;
            write(&folder.join("go.sum"), &go_sum)?;
            build(self.name, Path::new("go"), folder, &args)?;
            Ok(folder.join(BUILT))
        })
    }

    /// Whether [`Component::binary`] has nothing to build.
    #[must_use]
    pub fn is_there(&self) -> bool {
        let built = |(go_mod, go_sum, args): Sources| {
            is_there(self.name, &key(&[&go_mod, &go_sum, args.join(" ").as_bytes()]))
        };
        given(self.name).is_some() || self.sources().is_ok_and(built)
    }

    /// go.mod, go.sum, and what Go is told.
    fn sources(&self) -> Result<Sources, BuildError> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("components").join(self.module);
        Ok((read(&manifest.join("go.mod"))?, read(&manifest.join("go.sum"))?, self.build_args()))
    }

    fn build_args(&self) -> Vec<String> {
        let mut args: Vec<String> = ["build", "-trimpath", "-o", BUILT].map(str::to_owned).to_vec();
        args.push("-ldflags".to_owned());
        args.push(format!("-s -w {}", self.ldflags).trim_end().to_owned());
        if !self.tags.is_empty() {
            args.extend(["-tags".to_owned(), self.tags.to_owned()]);
        }
        args.push(self.package.to_owned());
        args
    }
}

type Sources = (Vec<u8>, Vec<u8>, Vec<String>);

/// The program of that name in the folder that `KUBEBUILDER_ASSETS` names.
fn given(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("KUBEBUILDER_ASSETS")?;
    Some(Path::new(&folder).join(name)).filter(|path| path.is_file())
}

/// The OpenTelemetry Collector with what `otel/collector-builder.yaml` lists, by its own builder.
///
/// # Errors
/// See [`BuildError`].
pub fn collector() -> Result<PathBuf, BuildError> {
    if let Some(path) = given("otelcol") {
        return Ok(path);
    }
    let manifest = read(&crate::crds::repository().join("otel/collector-builder.yaml"))?;
    let builder = COLLECTOR_BUILDER.binary()?;
    once("otelcol", &key(&[&manifest, builder.to_string_lossy().as_bytes()]), |folder| {
        write(&folder.join("builder.yaml"), &manifest)?;
        build("otelcol", &builder, folder, &["--config=builder.yaml".to_owned()])?;
        Ok(folder.join("otelcol-source/otelcol"))
    })
}

/// Whether [`collector`] has nothing to build.
#[must_use]
pub fn collector_is_there() -> bool {
    let built = || {
        let manifest = read(&crate::crds::repository().join("otel/collector-builder.yaml")).ok()?;
        let builder = COLLECTOR_BUILDER.is_there().then(|| COLLECTOR_BUILDER.binary().ok()).flatten()?;
        Some(is_there("otelcol", &key(&[&manifest, builder.to_string_lossy().as_bytes()])))
    };
    given("otelcol").is_some() || built().unwrap_or(false)
}

/// The binary while it is being written.
const BUILT: &str = "unfinished";

/// The folder of a module in the Go module cache; downloaded when it is not there.
///
/// # Errors
/// See [`BuildError`].
pub fn module_folder(module: &str, version: &str) -> Result<PathBuf, BuildError> {
    let name = format!("{module}@{version}");
    let cache = go(&name, Path::new("."), &["env", "GOMODCACHE"], |_| ())?;
    let folder = Path::new(cache.trim()).join(&name);
    if folder.is_dir() {
        return Ok(folder);
    }
    let start = Instant::now();
    say(format_args!("Downloading {name} for its CRDs"));
    let json = go(&name, &std::env::temp_dir(), &["mod", "download", "-json", &name], |elapsed| {
        progress(elapsed, format_args!("Downloading {name} … {} s", elapsed.as_secs()));
    })?;
    say(format_args!(" Downloaded {name} in {:.0} s", start.elapsed().as_secs_f32()));
    let answer: serde_json::Value = serde_json::from_str(&json).unwrap_or_default();
    answer["Dir"].as_str().map(PathBuf::from).ok_or_else(|| BuildError::Go {
        name,
        program: "go".to_owned(),
        args: "mod download -json".to_owned(),
        output: json.clone(),
    })
}
