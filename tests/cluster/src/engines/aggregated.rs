//! An API that another program serves on loopback: how the API server finds it, and when it answers. Knows no
//! project.

use k8s_openapi::ByteString;
use serde_json::json;

use super::{Host, START};
use crate::{
    manifest,
    pki::{Authority, Identity},
    proc,
    process::Process,
    wait::eventually,
};

/// Where an aggregated API is.
pub(super) struct Aggregated {
    pub group: &'static str,
    pub version: &'static str,
    pub namespace: &'static str,
    /// The Service that stands for it, in the certificate's name too.
    pub service: &'static str,
    /// The port on loopback.
    pub port: u16,
}

impl Aggregated {
    /// What the program has to show.
    pub(super) fn identity(&self, authority: &Authority) -> Identity {
        authority.peer(&[&format!("{}.{}.svc", self.service, self.namespace), "localhost", "127.0.0.1"])
    }

    /// Registers it when the program listens, since a group that is registered and does not answer keeps
    /// namespaces from ending; returns when it answers through the API server.
    pub(super) async fn serve(&self, host: &Host<'_>, process: &mut Process, authority: &Authority) {
        eventually(&format!("{} listens", process.name()), START, async || {
            process.assert_running();
            if proc::listening(process.pid()).contains(&self.port) { Ok(()) } else { Err(process.log_end(5)) }
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
        eventually(&format!("{} is served", self.group), START, async || {
            process.assert_running();
            let request = http::Request::get(format!("/apis/{}/{}", self.group, self.version))
                .body(Vec::new())
                .expect("a request");
            host.client
                .request_text(request)
                .await
                .map_err(|error| format!("{error}\n{}", process.log_end(5)))
        })
        .await;
    }
}
