//! Where the blocks run: a copy of what is shipped, kubectl and Helm, a real control plane with fake engines, and
//! the operator as a process as soon as its service account is there.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
};

use elpio_cluster::{
    Cluster, ClusterOptions, Crds, FakeEngineOptions, FakeEngines, Operator,
    components::{
        Component,
        clients::{ClientProgram, KUBECTL},
    },
    process::TempDir,
};

use crate::top;

pub struct Site {
    cluster: Cluster,
    /// The folder that a reader is in: the top of the repository.
    folder: TempDir,
    kubectl: ClientProgram,
    operator: Option<Operator>,
    _engines: FakeEngines,
}

impl Site {
    pub async fn new(helm: Component) -> Self {
        let crds = Crds::ALL.into_iter().filter(|crds| *crds != Crds::ELPIO).collect();
        let options = ClusterOptions { controller_manager: true, crds, ..ClusterOptions::default() };
        let cluster = Cluster::start(options).await;
        let folder = TempDir::new("docs");
        let bin = folder.path().join("bin");
        fs::create_dir_all(&bin).unwrap();
        for (name, component) in [("kubectl", KUBECTL), ("helm", helm)] {
            symlink(component.binary().unwrap(), bin.join(name)).unwrap();
        }
        for name in ["elpio-operator", "kubectl-elpio"] {
            symlink(env!("CARGO_BIN_EXE_elpio-operator"), bin.join(name)).unwrap();
        }
        let copied =
            Command::new("cp").arg("-r").arg(top().join("deploy")).arg(folder.path()).status().unwrap();
        assert!(copied.success());
        let kubectl =
            ClientProgram::new(KUBECTL, folder.path()).unwrap().with_kubeconfig(&cluster.kubeconfig());
        let options = FakeEngineOptions {
            pods: true,
            side_effects: true,
            builds: true,
            ..FakeEngineOptions::default()
        };
        let engines = FakeEngines::start(cluster.client().await, options);
        Self { cluster, folder, kubectl, operator: None, _engines: engines }
    }

    /// Runs a block as `sh -eu` would, and fails with all that it printed.
    pub async fn run(&mut self, name: &str, block: &str) {
        let bin = self.folder.path().join("bin");
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let (text, folder, kubeconfig) =
            (block.to_owned(), self.folder.path().to_owned(), self.cluster.kubeconfig());
        let output = tokio::task::spawn_blocking(move || {
            Command::new("sh")
                .args(["-eu", "-c", &text])
                .current_dir(&folder)
                .env("PATH", path)
                .env("HOME", &folder)
                .env("KUBECONFIG", kubeconfig)
                .stdin(Stdio::null())
                .output()
                .unwrap()
        })
        .await
        .unwrap();
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8_lossy(&printed);
        println!("--- {name}\n{block}{printed}");
        assert!(output.status.success(), "{name}: {}\n{block}\n{printed}", output.status);
        self.start_operator().await;
    }

    /// What the Deployment would start.
    async fn start_operator(&mut self) {
        let (namespace, account) = ("elpio-system", "elpio-operator");
        let found = self.kubectl.run(&["-n", namespace, "get", "serviceaccount", account], "").success;
        if self.operator.is_none() && found {
            let kubeconfig = self.cluster.kubeconfig_for_service_account(namespace, account).await;
            let env = [("ELPIO_LEADER_ELECT", "on"), ("POD_NAMESPACE", namespace), ("ELPIO_METRICS", "on")];
            let binary = Path::new(env!("CARGO_BIN_EXE_elpio-operator"));
            let mut operator = Operator::spawn(binary, &kubeconfig, &env);
            operator.wait_ready().await;
            self.operator = Some(operator);
        }
    }
}
