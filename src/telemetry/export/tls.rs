//! The TLS of exports, from the configured files: the only place that reads certificates and keys.

use std::{fs, path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::telemetry::config::{InitError, otlp::TlsFiles};

/// The PEM texts of the configured files. `Debug` shows none of them.
#[derive(Clone, Default)]
pub(in crate::telemetry) struct Pem {
    authorities: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Pem {
    /// Reads the files; ignores an unreadable one with a warning.
    pub(in crate::telemetry) fn read(files: &TlsFiles, warnings: &mut Vec<String>) -> Self {
        let authorities =
            read_pem(files.authorities.as_ref(), certificates, "the system's authorities", warnings);
        let certificate =
            read_pem(files.certificate.as_ref(), certificates, "no client certificate", warnings);
        let is_key = |pem: &[u8]| PrivateKeyDer::from_pem_slice(pem).is_ok();
        let key = read_pem(files.key.as_ref(), is_key, "no client certificate", warnings);
        if certificate.is_some() != key.is_some() && files.certificate.is_some() != files.key.is_some() {
            let (set, missing) =
                if files.key.is_some() { ("key", "certificate") } else { ("certificate", "key") };
            warnings.push(format!(
                "invalid OTEL_EXPORTER_OTLP_*: a client {set} without a client {missing}; \
                 using no client certificate"
            ));
        }
        Self { authorities, identity: certificate.zip(key) }
    }
}

/// Whether a PEM text is valid and has certificates.
fn certificates(pem: &[u8]) -> bool {
    let mut all = CertificateDer::pem_slice_iter(pem).peekable();
    all.peek().is_some() && all.all(|certificate| certificate.is_ok())
}

fn read_pem(
    file: Option<&(String, PathBuf)>,
    usable: fn(&[u8]) -> bool,
    instead: &str,
    warnings: &mut Vec<String>,
) -> Option<Vec<u8>> {
    let (variable, path) = file?;
    let why = match fs::read(path) {
        Ok(text) if usable(&text) => return Some(text),
        Ok(_) => "not a valid PEM file".to_owned(),
        Err(error) => error.to_string(),
    };
    let line = format!("invalid value {variable}={:?}: {why}; using {instead}", path.display().to_string());
    if !warnings.contains(&line) {
        warnings.push(line);
    }
    None
}

/// The exporter's own default trusts no CA at all.
pub(in crate::telemetry) fn grpc_tls(pem: &Pem) -> ClientTlsConfig {
    let config = match &pem.authorities {
        Some(authorities) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authorities)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    match &pem.identity {
        Some((certificate, key)) => config.identity(Identity::from_pem(certificate, key)),
        None => config,
    }
}

pub(in crate::telemetry) fn http_tls(pem: &Pem) -> Result<ClientConfig, InitError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(InitError::from_error)?;
    let builder = match &pem.authorities {
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(authorities) {
                roots.add(certificate.map_err(InitError::from_error)?).map_err(InitError::from_error)?;
            }
            builder.with_root_certificates(roots)
        }
        None => hyper_rustls::ConfigBuilderExt::with_native_roots(builder).map_err(InitError::from_error)?,
    };
    match &pem.identity {
        Some((certificate, key)) => {
            let chain = CertificateDer::pem_slice_iter(certificate)
                .collect::<Result<Vec<_>, _>>()
                .map_err(InitError::from_error)?;
            builder
                .with_client_auth_cert(
                    chain,
                    PrivateKeyDer::from_pem_slice(key).map_err(InitError::from_error)?,
                )
                .map_err(InitError::from_error)
        }
        None => Ok(builder.with_no_client_auth()),
    }
}
