//! KEDA's HTTP add-on: its operator, its scaler and one interceptor, connected without cluster DNS. It starts
//! nothing else.

use serde_json::json;

use super::{Host, START_TIMEOUT, keda::NAMESPACE};
use crate::{
    components::Component,
    control_plane::manifest,
    eventually,
    process::{Process, free_port, stats},
};

pub(super) const OPERATOR: Component =
    Component::plain("http-add-on-operator", "http-add-on", "github.com/kedacore/http-add-on/operator");
pub(super) const SCALER: Component =
    Component::plain("http-add-on-scaler", "http-add-on", "github.com/kedacore/http-add-on/scaler");
pub(super) const INTERCEPTOR: Component =
    Component::plain("http-add-on-interceptor", "http-add-on", "github.com/kedacore/http-add-on/interceptor");

/// The Service whose endpoints the scaler polls for queue lengths.
const ADMIN: &str = "keda-add-ons-http-interceptor-admin";
/// The interceptor's address. An endpoint cannot be in 127.0.0.0/8; this address is on loopback too (see
/// `netns`).
const ADDRESS: &str = "10.255.0.1";

pub(super) async fn start(host: &Host<'_>) -> Vec<Process> {
    let (scaler_port, admin_port) = (free_port(), free_port());
    publish_admin_endpoint(host, admin_port).await;
    let mut interceptor = spawn_interceptor(host, admin_port);
    let mut operator = spawn_operator(host, scaler_port);
    wait_until_listening(&mut interceptor, admin_port).await;
    wait_until_listening(&mut interceptor, host.interceptor_port).await;
    let mut scaler = spawn_scaler(host, scaler_port, admin_port);
    wait_until_listening(&mut scaler, scaler_port).await;
    eventually("the HTTP add-on's operator is running", START_TIMEOUT, async || {
        operator.assert_running();
        if operator.log().contains("Starting workers") { Ok(()) } else { Err(operator.log_tail(5)) }
    })
    .await;
    vec![operator, scaler, interceptor]
}

/// Creates a Service with the interceptor's admin port as its one endpoint.
async fn publish_admin_endpoint(host: &Host<'_>, port: u16) {
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": ADMIN, "namespace": NAMESPACE}, "spec": {"ports": [{"port": port}]},
    });
    let endpoints = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": ADMIN, "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": ADMIN, "endpointslice.kubernetes.io/managed-by": "elpio-cluster"},
        },
        "endpoints": [{"addresses": [ADDRESS], "conditions": {"ready": true}}], "ports": [{"port": port}],
    });
    for object in [service, endpoints] {
        manifest::apply(&host.client, &serde_json::from_value(object).expect("an object")).await;
    }
}

async fn wait_until_listening(process: &mut Process, port: u16) {
    eventually(&format!("{} listens on {port}", process.name()), START_TIMEOUT, async || {
        process.assert_running();
        if stats::listening_ports(process.pid()).contains(&port) { Ok(()) } else { Err(process.log_tail(5)) }
    })
    .await;
}

fn spawn_interceptor(host: &Host<'_>, admin_port: u16) -> Process {
    let env = [
        ("KUBECONFIG", host.kubeconfig()),
        ("KEDA_HTTP_CURRENT_NAMESPACE", NAMESPACE.to_owned()),
        ("KEDA_HTTP_PROXY_PORT", host.interceptor_port.to_string()),
        ("KEDA_HTTP_ADMIN_PORT", admin_port.to_string()),
        // How long a request waits for a pod.
        ("KEDA_CONDITION_WAIT_TIMEOUT", "60s".to_owned()),
        ("KEDA_RESPONSE_HEADER_TIMEOUT", "10s".to_owned()),
        ("OTEL_PROM_EXPORTER_ENABLED", "false".to_owned()),
    ];
    host.spawn(&INTERCEPTOR, Vec::new(), &env)
}

fn spawn_operator(host: &Host<'_>, scaler_port: u16) -> Process {
    let args = vec![
        format!("--metrics-bind-address=127.0.0.1:{}", free_port()),
        format!("--health-probe-bind-address=127.0.0.1:{}", free_port()),
    ];
    let env = [
        ("KUBECONFIG", host.kubeconfig()),
        // The trigger's address is "SERVICE.NAMESPACE:PORT", here 127.0.0.1, which needs no DNS.
        ("KEDAHTTP_OPERATOR_EXTERNAL_SCALER_SERVICE", "127.0.0".to_owned()),
        ("KEDA_HTTP_OPERATOR_NAMESPACE", "1".to_owned()),
        ("KEDAHTTP_OPERATOR_EXTERNAL_SCALER_PORT", scaler_port.to_string()),
        ("KEDA_HTTP_OPERATOR_WATCH_NAMESPACE", String::new()),
    ];
    host.spawn(&OPERATOR, args, &env)
}

fn spawn_scaler(host: &Host<'_>, port: u16, admin_port: u16) -> Process {
    let env = [
        ("KUBECONFIG", host.kubeconfig()),
        ("KEDA_HTTP_SCALER_PORT", port.to_string()),
        ("KEDA_HTTP_SCALER_TARGET_ADMIN_NAMESPACE", NAMESPACE.to_owned()),
        ("KEDA_HTTP_SCALER_TARGET_ADMIN_SERVICE", ADMIN.to_owned()),
        // The Service whose endpoints it watches.
        ("KEDA_HTTP_SCALER_TARGET_ADMIN_DEPLOYMENT", ADMIN.to_owned()),
        ("KEDA_HTTP_SCALER_TARGET_ADMIN_PORT", admin_port.to_string()),
        ("KEDA_HTTP_SCALER_STREAM_INTERVAL_MS", "200".to_owned()),
    ];
    host.spawn(&SCALER, Vec::new(), &env)
}
