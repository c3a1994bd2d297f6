//! What people install and read with: Helm, kubectl, kustomize, and what delivery tools ask. It starts no server.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::components::{BuildError, Component, KUBE_APISERVER};

/// Helm 3. Its renderer takes the Kubernetes version from these flags, as its releases do.
pub const HELM_3: Component = Component {
    ldflags: "-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=35",
    ..Component::plain("helm3", "helm3", "helm.sh/helm/v3/cmd/helm")
};
/// Helm 4.
pub const HELM_4: Component = Component::plain("helm4", "helm4", "helm.sh/helm/v4/cmd/helm");
/// kustomize.
pub const KUSTOMIZE: Component =
    Component::plain("kustomize", "kustomize", "sigs.k8s.io/kustomize/kustomize/v5");
/// kubectl, of the API server's version.
pub const KUBECTL: Component = Component {
    ldflags: KUBE_APISERVER.ldflags,
    ..Component::plain("kubectl", "kubectl", "k8s.io/kubernetes/cmd/kubectl")
};

/// Answers what kstatus, Argo CD and Flux make of objects, by their own libraries.
pub const GITOPS: Component = Component::plain("gitops", "gitops", ".");

/// The operator that the benchmark compares Elpio's with.
pub const BENCH_PEER: Component = Component::plain("bench-peer", "bench-peer", ".");

/// A client program, with a home directory of its own and maybe a kubeconfig.
#[derive(Clone, Debug)]
pub struct ClientProgram {
    binary: PathBuf,
    home: PathBuf,
    kubeconfig: Option<PathBuf>,
}

/// What a program printed, and whether it succeeded.
#[derive(Debug)]
pub struct Printed {
    /// Whether the exit code was 0.
    pub success: bool,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl ClientProgram {
    /// A program that keeps its cache and configuration in `home`. Building it may block for minutes.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn new(component: Component, home: &Path) -> Result<Self, BuildError> {
        Ok(Self { binary: component.binary()?, home: home.to_owned(), kubeconfig: None })
    }

    /// The same with this kubeconfig.
    #[must_use]
    pub fn with_kubeconfig(self, kubeconfig: &Path) -> Self {
        Self { kubeconfig: Some(kubeconfig.to_owned()), ..self }
    }

    /// Where the binary is.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn run(&self, args: &[&str], stdin: &str) -> Printed {
        let mut command = Command::new(&self.binary);
        command.args(args).env("HOME", &self.home).env_remove("KUBECONFIG");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(kubeconfig) = &self.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        let mut child = command.spawn().expect("the program starts");
        let mut pipe = child.stdin.take().expect("piped");
        let text = stdin.to_owned();
        let writer = std::thread::spawn(move || drop(pipe.write_all(text.as_bytes())));
        let output = child.wait_with_output().expect("the program ends");
        let _ = writer.join();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Printed {
            success: output.status.success(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Runs it, and returns its standard output.
    ///
    /// # Panics
    /// If it fails, with what it printed.
    #[must_use]
    pub fn output(&self, args: &[&str], stdin: &str) -> String {
        let printed = self.run(args, stdin);
        let name = self.binary.file_name().unwrap_or_default().display();
        assert!(printed.success, "{name} {}: {}\n{}", args.join(" "), printed.stdout, printed.stderr);
        printed.stdout
    }
}
