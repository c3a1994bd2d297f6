//! The fields of cert-manager's Certificate that Elpio writes.

use serde::Serialize;

/// `spec` of a `cert-manager.io/v1` Certificate.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateSpec {
    /// The Secret that the certificate is written to.
    pub secret_name: String,
    /// The names that it is for.
    pub dns_names: Vec<String>,
    /// Who signs it.
    pub issuer_ref: IssuerRef,
}

/// Who signs a certificate.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct IssuerRef {
    /// Its name.
    pub name: String,
    /// `ClusterIssuer` or `Issuer`.
    pub kind: &'static str,
}
