//! metrics-server, which scrapes the simulated node. A pod's usage is its annotation
//! `kwok.x-k8s.io/usage-cpu: 90m`, and is known after two scrapes, ten seconds apart. It starts nothing else.

use super::{Host, aggregated::Aggregated, write_identity};
use crate::{
    components::Component,
    control_plane::pki::Authority,
    process::{Process, free_port},
};

pub(super) const COMPONENTS: [Component; 1] = [SERVER];
const SERVER: Component =
    Component::plain("metrics-server", "metrics-server", "sigs.k8s.io/metrics-server/cmd/metrics-server");

pub(super) async fn start(host: &Host<'_>) -> Vec<Process> {
    let authority = Authority::new("metrics-server");
    let api = Aggregated {
        group: "metrics.k8s.io",
        version: "v1beta1",
        namespace: "kube-system",
        service: "metrics-server",
        port: free_port(),
    };
    let certificates =
        write_identity(host, "metrics-server-certificates", &authority, &api.identity(&authority));
    let (kubeconfig, certificates) = (host.kubeconfig(), certificates.display());
    let args = vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        format!("--secure-port={}", api.port),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--tls-cert-file={certificates}/tls.crt"),
        format!("--tls-private-key-file={certificates}/tls.key"),
        "--kubelet-insecure-tls".to_owned(),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        "--kubelet-use-node-status-port".to_owned(),
        // The minimum.
        "--metric-resolution=10s".to_owned(),
        "--kubelet-request-timeout=5s".to_owned(),
    ];
    let mut server = host.spawn(&SERVER, args, &[]);
    api.serve(host, &mut server, &authority).await;
    vec![server]
}
