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

/// What is used where the new files cannot be.
const FORMER: &str = "the files before";

impl TlsFiles {
    /// The line for files of which each can be read, but that cannot be used together.
    pub(in crate::telemetry) fn unusable(&self, error: &InitError) -> String {
        let set = [&self.authorities, &self.certificate, &self.key].into_iter().flatten();
        let variables: Vec<&str> = set.map(|(variable, _)| variable.as_str()).collect();
        format!("cannot use the files of {}: {error}; using {FORMER}", variables.join(", "))
    }
}

impl Pem {
    /// Reads the files; ignores an unreadable one with a warning.
    pub(in crate::telemetry) fn read(files: &TlsFiles, warnings: &mut Vec<String>) -> Self {
        let pem = Self::read_each(files, ["the system's authorities", "no client certificate"], warnings);
        if pem.identity.is_none() && files.certificate.is_some() != files.key.is_some() {
            let (set, missing) =
                if files.key.is_some() { ("key", "certificate") } else { ("certificate", "key") };
            warnings.push(format!(
                "invalid OTEL_EXPORTER_OTLP_*: a client {set} without a client {missing}; \
                 using no client certificate"
            ));
        }
        pem
    }

    /// Reads the files after a change; the warnings where one cannot be read.
    pub(in crate::telemetry) fn read_again(files: &TlsFiles) -> Result<Self, Vec<String>> {
        let mut warnings = Vec::new();
        let pem = Self::read_each(files, [FORMER; 2], &mut warnings);
        if warnings.is_empty() { Ok(pem) } else { Err(warnings) }
    }

    fn read_each(files: &TlsFiles, [authority, client]: [&str; 2], warnings: &mut Vec<String>) -> Self {
        let authorities = read_pem(files.authorities.as_ref(), certificates, authority, warnings);
        let certificate = read_pem(files.certificate.as_ref(), certificates, client, warnings);
        let is_key = |pem: &[u8]| PrivateKeyDer::from_pem_slice(pem).is_ok();
        let key = read_pem(files.key.as_ref(), is_key, client, warnings);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_change_a_file_that_cannot_be_read_is_named() {
        let missing = |name: &str| Some((name.to_owned(), PathBuf::from("/nonexistent/file")));
        let none = TlsFiles::default();
        for (files, expected) in [
            (none.clone(), None),
            (TlsFiles { authorities: missing("CA"), ..none.clone() }, Some("CA")),
            (TlsFiles { key: missing("KEY"), ..none }, Some("KEY")),
        ] {
            let warnings = Pem::read_again(&files).err().unwrap_or_default();
            assert_eq!(warnings.len(), usize::from(expected.is_some()), "{warnings:?}");
            for (line, name) in warnings.iter().zip(expected) {
                assert!(line.starts_with(&format!("invalid value {name}=\"/nonexistent/file\": ")), "{line}");
                assert!(line.ends_with("; using the files before"), "{line}");
            }
        }
    }
}
