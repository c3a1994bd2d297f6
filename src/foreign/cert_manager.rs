//! The fields of cert-manager's Certificate that Elpio writes.

use serde::Serialize;

/// `spec` of a `cert-manager.io/v1` Certificate.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateSpec {
    /// The Secret for the certificate.
    pub secret_name: String,
    /// The DNS names in the certificate.
    pub dns_names: Vec<String>,
    /// The issuer.
    pub issuer_ref: IssuerRef,
}

/// The issuer of a certificate.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct IssuerRef {
    /// Its name.
    pub name: String,
    /// `ClusterIssuer` or `Issuer`.
    pub kind: &'static str,
}
