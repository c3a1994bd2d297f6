//! A real API server with one Helm and kubectl, and the operator as a process with the permissions that the chart
//! gives it.

use std::{path::Path, sync::Arc, time::Duration};

use elpio_cluster::{
    Cluster, ClusterOptions, Crds, Operator,
    components::{
        Component,
        clients::{ClientProgram, KUBECTL},
    },
    eventually,
};
use serde_json::json;

use crate::program;

pub(crate) const TIMEOUT: Duration = Duration::from_mins(1);

pub(crate) struct Site {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) helm: ClientProgram,
    pub(crate) kubectl: ClientProgram,
}

impl Site {
    pub(crate) async fn new(helm: Component) -> Self {
        let crds = Crds::ALL.into_iter().filter(|crds| *crds != Crds::ELPIO).collect();
        let options =
            ClusterOptions { controller_manager: true, crds, audit: true, ..ClusterOptions::default() };
        let cluster = Arc::new(Cluster::start(options).await);
        let helm = program(helm).with_kubeconfig(&cluster.kubeconfig());
        let kubectl = program(KUBECTL).with_kubeconfig(&cluster.kubeconfig());
        Self { cluster, helm, kubectl }
    }

    pub(crate) fn helm(&self, args: &str) -> String {
        self.helm.output(&args.split(' ').collect::<Vec<_>>(), "")
    }

    pub(crate) fn kubectl(&self, args: &str) -> String {
        self.kubectl.output(&args.split(' ').collect::<Vec<_>>(), "")
    }

    pub(crate) async fn operator(&self, namespace: &str, account: &str, namespaces: &str) -> Operator {
        let kubeconfig = self.cluster.kubeconfig_for_service_account(namespace, account).await;
        let mut env =
            vec![("ELPIO_LEADER_ELECT", "on"), ("ELPIO_METRICS", "on"), ("POD_NAMESPACE", namespace)];
        if !namespaces.is_empty() {
            env.push(("ELPIO_NAMESPACES", namespaces));
        }
        let binary = Path::new(env!("CARGO_BIN_EXE_elpio-operator"));
        let mut operator = Operator::spawn(binary, &kubeconfig, &env);
        operator.wait_ready().await;
        operator
    }

    pub(crate) fn apply(&self, namespace: &str, name: &str) {
        let object = json!({"apiVersion": "elpio.io/v1alpha1", "kind": "ElpioService", "metadata": {"name": name, "namespace": namespace},
            "spec": {"image": {"repository": "registry.local/app"}}});
        let _ = self.kubectl.output(&["apply", "-f", "-"], &object.to_string());
    }

    pub(crate) async fn ready(&self, namespace: &str, name: &str) {
        let args = ["-n", namespace, "get", "esvc", name, "-o", "jsonpath={.status.ready}"];
        eventually(&format!("{name} is ready"), TIMEOUT, async || {
            let printed = self.kubectl.run(&args, "");
            if printed.stdout == "true" { Ok(()) } else { Err(format!("{printed:?}")) }
        })
        .await;
    }
}
