//! The fields of the External Secrets Operator's `ExternalSecret` that Elpio writes; v1 and v1beta1 share
//! them.

use serde::Serialize;

/// `spec` of an `external-secrets.io` `ExternalSecret`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalSecretSpec {
    /// How often to read the store, as a Go duration.
    pub refresh_interval: String,
    /// The store.
    pub secret_store_ref: StoreRef,
    /// The Secret to write.
    pub target: Target,
    /// The data to fetch.
    pub data: Vec<Data>,
}

/// A store.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct StoreRef {
    /// Its name.
    pub name: String,
    /// `SecretStore` or `ClusterSecretStore`.
    pub kind: &'static str,
}

/// The Secret to write.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Target {
    /// Its name.
    pub name: String,
}

/// One key of the written Secret.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Data {
    /// Key in the written Secret.
    pub secret_key: String,
    /// The source.
    pub remote_ref: RemoteRef,
}

/// A reference to data in the store.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct RemoteRef {
    /// Key in the store.
    pub key: String,
    /// Property of the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub property: Option<String>,
}
