//! KEDA: its operator and its metrics adapter, with certificates issued here instead of KEDA's own. It starts
//! the HTTP add-on too.

use serde_json::json;

use super::{Host, START_TIMEOUT, aggregated::Aggregated, http_add_on, write_identity};
use crate::{
    components::Component,
    control_plane::{manifest, pki::Authority},
    eventually,
    process::{Process, free_port},
};

pub(super) const COMPONENTS: [Component; 5] =
    [OPERATOR, ADAPTER, http_add_on::OPERATOR, http_add_on::SCALER, http_add_on::INTERCEPTOR];
const OPERATOR: Component =
    Component::plain("keda-operator", "keda", "github.com/kedacore/keda/v2/cmd/operator");
const ADAPTER: Component =
    Component::plain("keda-adapter", "keda", "github.com/kedacore/keda/v2/cmd/adapter");

pub(super) const NAMESPACE: &str = "keda";

/// KEDA and its HTTP add-on.
pub(super) async fn start(host: &Host<'_>) -> Vec<Process> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    manifest::apply(&host.client, &serde_json::from_value(namespace).expect("an object")).await;
    let (mut processes, add_on) = futures::future::join(start_keda(host), http_add_on::start(host)).await;
    processes.extend(add_on);
    processes
}

async fn start_keda(host: &Host<'_>) -> Vec<Process> {
    let authority = Authority::new("keda");
    let api = Aggregated {
        group: "external.metrics.k8s.io",
        version: "v1beta1",
        namespace: NAMESPACE,
        service: "keda-metrics-apiserver",
        port: free_port(),
    };
    // Operator and adapter authenticate to each other with the same certificate.
    let certificates = write_identity(host, "keda-certificates", &authority, &api.identity(&authority));
    let (certificates, metrics_service) =
        (certificates.display().to_string(), format!("127.0.0.1:{}", free_port()));
    let mut operator = spawn_operator(host, &certificates, &metrics_service);
    let mut adapter = spawn_adapter(host, &certificates, &metrics_service, api.port);
    eventually("KEDA's operator is running", START_TIMEOUT, async || {
        operator.assert_running();
        if operator.log().contains("Starting workers") { Ok(()) } else { Err(operator.log_tail(5)) }
    })
    .await;
    api.serve(host, &mut adapter, &authority).await;
    vec![operator, adapter]
}

fn variables(host: &Host<'_>) -> Vec<(&'static str, String)> {
    vec![
        ("KUBECONFIG", host.kubeconfig()),
        ("POD_NAMESPACE", NAMESPACE.to_owned()),
        ("KEDA_CLUSTER_OBJECT_NAMESPACE", NAMESPACE.to_owned()),
        ("WATCH_NAMESPACE", String::new()),
    ]
}

fn spawn_operator(host: &Host<'_>, certificates: &str, metrics_service: &str) -> Process {
    let args = vec![
        format!("--metrics-bind-address=127.0.0.1:{}", free_port()),
        format!("--health-probe-bind-address=127.0.0.1:{}", free_port()),
        format!("--metrics-service-bind-address={metrics_service}"),
        format!("--cert-dir={certificates}"),
        "--enable-cert-rotation=false".to_owned(),
        "--kube-api-qps=100".to_owned(),
        "--kube-api-burst=200".to_owned(),
    ];
    host.spawn(&OPERATOR, args, &variables(host))
}

fn spawn_adapter(host: &Host<'_>, certificates: &str, metrics_service: &str, port: u16) -> Process {
    let kubeconfig = host.kubeconfig();
    let args = vec![
        format!("--secure-port={port}"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--port={}", free_port()),
        format!("--metrics-service-address={metrics_service}"),
        format!("--client-ca-file={certificates}/ca.crt"),
        format!("--tls-cert-file={certificates}/tls.crt"),
        format!("--tls-private-key-file={certificates}/tls.key"),
        format!("--cert-dir={certificates}"),
        format!("--kubeconfig={kubeconfig}"),
        format!("--lister-kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
    ];
    host.spawn(&ADAPTER, args, &variables(host))
}
