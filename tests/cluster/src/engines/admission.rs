//! Makes the API server call a project's webhooks on loopback, and reports when they are ready. It knows no
//! project.

use k8s_openapi::{
    ByteString,
    api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Client,
    api::{Api, ListParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use crate::control_plane::manifest;

/// The address of a project's webhooks.
pub(super) struct Admission<'a> {
    pub client: &'a Client,
    pub namespace: &'static str,
    /// The Service in its webhook configurations.
    pub service: &'static str,
    /// The port on loopback.
    pub port: u16,
}

impl Admission<'_> {
    /// Applies the webhooks' Secret and configurations, with a Service that is an alias for loopback and with
    /// this port in every reference to it. The webhooks' own certificates stay valid.
    pub(super) async fn configure(&self, objects: Vec<DynamicObject>) {
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": self.service, "namespace": self.namespace},
            "spec": {"type": "ExternalName", "externalName": "127.0.0.1"},
        });
        manifest::apply(self.client, &serde_json::from_value(service).expect("an object")).await;
        for mut object in objects {
            for webhook in object.data.get_mut("webhooks").and_then(Value::as_array_mut).into_iter().flatten()
            {
                webhook["clientConfig"]["service"]["port"] = self.port.into();
            }
            manifest::apply(self.client, &object).await;
        }
        self.configure_conversions().await;
    }

    async fn configure_conversions(&self) {
        let crds: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let all = crds.list(&ListParams::default()).await.unwrap_or_else(|error| panic!("CRDs: {error}"));
        let patch = Patch::Merge(
            json!({"spec": {"conversion": {"webhook": {"clientConfig": {"service": {"port": self.port}}}}}}),
        );
        for crd in all.items.iter().filter(|crd| self.converts(crd)) {
            let name = crd.metadata.name.as_deref().unwrap_or_default();
            crds.patch(name, &PatchParams::default(), &patch)
                .await
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }

    /// Whether this Service converts the CRD's versions.
    fn converts(&self, crd: &CustomResourceDefinition) -> bool {
        let webhook = crd.spec.conversion.as_ref().and_then(|conversion| conversion.webhook.as_ref());
        let service = webhook.and_then(|webhook| webhook.client_config.as_ref()?.service.as_ref());
        service.is_some_and(|service| service.name == self.service && service.namespace == self.namespace)
    }

    /// Whether the webhooks have written CA bundles and rules into these configurations: then the API server
    /// calls them.
    pub(super) async fn ready(&self, mutating: &str, validating: &str) -> Result<(), String> {
        let configurations: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        let webhooks = configurations
            .get(mutating)
            .await
            .map_err(|error| error.to_string())?
            .webhooks
            .unwrap_or_default();
        let mutates = webhooks.iter().all(|webhook| {
            has_ca_bundle(webhook.client_config.ca_bundle.as_ref()) && webhook.rules.is_some()
        });
        let configurations: Api<ValidatingWebhookConfiguration> = Api::all(self.client.clone());
        let webhooks = configurations
            .get(validating)
            .await
            .map_err(|error| error.to_string())?
            .webhooks
            .unwrap_or_default();
        let validates = webhooks.iter().all(|webhook| {
            has_ca_bundle(webhook.client_config.ca_bundle.as_ref()) && webhook.rules.is_some()
        });
        if mutates && validates {
            Ok(())
        } else {
            Err(format!("{mutating}: {mutates}, {validating}: {validates}"))
        }
    }
}

fn has_ca_bundle(ca_bundle: Option<&ByteString>) -> bool {
    ca_bundle.is_some_and(|pem| !pem.0.is_empty())
}
