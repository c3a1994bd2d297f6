//! Registers an aggregated API that a program serves on loopback, and waits until it is available. It knows
//! no project.

use k8s_openapi::ByteString;
use serde_json::json;

use super::{Host, START_TIMEOUT};
use crate::{
    control_plane::{
        manifest,
        pki::{Authority, Identity},
    },
    eventually,
    process::{Process, stats},
};

/// The address of an aggregated API.
pub(super) struct Aggregated {
    pub group: &'static str,
    pub version: &'static str,
    pub namespace: &'static str,
    /// Its Service, which is also the name in its certificate.
    pub service: &'static str,
    /// The port on loopback.
    pub port: u16,
}

impl Aggregated {
    /// The program's certificate.
    pub(super) fn identity(&self, authority: &Authority) -> Identity {
        authority.peer(&[&format!("{}.{}.svc", self.service, self.namespace), "localhost", "127.0.0.1"])
    }

    /// Registers the API as soon as the program listens, because an unavailable group blocks the deletion of
    /// namespaces; then waits until the API server serves it.
    pub(super) async fn serve(&self, host: &Host<'_>, process: &mut Process, authority: &Authority) {
        eventually(&format!("{} listens", process.name()), START_TIMEOUT, async || {
            process.assert_running();
            if stats::listening_ports(process.pid()).contains(&self.port) {
                Ok(())
            } else {
                Err(process.log_tail(5))
            }
        })
        .await;
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": self.service, "namespace": self.namespace},
            "spec": {"type": "ExternalName", "externalName": "127.0.0.1"},
        });
        let registration = json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": format!("{}.{}", self.version, self.group)},
            "spec": {
                "group": self.group, "version": self.version, "groupPriorityMinimum": 100, "versionPriority": 100,
                "service": {"name": self.service, "namespace": self.namespace, "port": self.port},
                "caBundle": ByteString(authority.certificate().into_bytes()),
            },
        });
        for object in [service, registration] {
            manifest::apply(&host.client, &serde_json::from_value(object).expect("an object")).await;
        }
        eventually(&format!("{} is served", self.group), START_TIMEOUT, async || {
            process.assert_running();
            let request = http::Request::get(format!("/apis/{}/{}", self.group, self.version))
                .body(Vec::new())
                .expect("a request");
            host.client
                .request_text(request)
                .await
                .map_err(|error| format!("{error}\n{}", process.log_tail(5)))
        })
        .await;
    }
}
