//! Builds OTLP exporters from settings: the transport, TLS and what the exporters' crate leaves to us; it
//! reads the files that settings name and no environment.

use std::{collections::HashMap, fmt, fs, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry_http::{HttpClient, HttpError, hyper::HyperClient};
use opentelemetry_otlp::{
    Compression, LogExporter, MetricExporter, Protocol as Wire, SpanExporter, WithExportConfig,
    WithHttpConfig, WithTonicConfig,
    tonic_types::{
        metadata::MetadataMap,
        transport::{Certificate, ClientTlsConfig, Identity},
    },
};
use opentelemetry_sdk::{Resource, logs::LogExporter as _, metrics::Temporality, trace::SpanExporter as _};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::{
    api::url::redact_userinfo,
    telemetry::{
        catalog::attributes::Signal,
        config::{
            InitError,
            otlp::{OtlpConfig, Protocol, TlsFiles},
        },
        export::reloading::ReloadingExporter,
        sources::{error_chain::error_chain, export_stats::ExportStats},
    },
};

/// PEM texts of the files that settings name. Its `Debug` shows none of them.
#[derive(Clone, Default)]
pub(in crate::telemetry) struct Pem {
    authorities: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Pem {
    /// Reads the files; one that cannot be read is a warning, and goes unused.
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
            warnings.push(format!("OTEL_EXPORTER_OTLP_*: a client {set} without a client {missing}; used instead: no client certificate"));
        }
        Self { authorities, identity: certificate.zip(key) }
    }
}

/// Whether a PEM text holds certificates and nothing that is broken.
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
        Ok(_) => "not what it should be in PEM".to_owned(),
        Err(error) => error.to_string(),
    };
    let line = format!("{variable}={:?}: {why}; used instead: {instead}", path.display().to_string());
    if !warnings.contains(&line) {
        warnings.push(line);
    }
    None
}

/// What one signal is pushed with.
#[derive(Clone)]
pub(in crate::telemetry) struct OtlpExporters {
    signal: Signal,
    delivery: Arc<ExportStats>,
    otlp: OtlpConfig,
    pem: Pem,
    timeout: Duration,
}

fn init_error(error: impl fmt::Display) -> InitError {
    InitError(error.to_string())
}

/// Sets on an exporter's builder what every signal has; the three builders share no type.
macro_rules! build {
    ($transport:expr, $builder:expr) => {{
        let OtlpExporters { signal, delivery, otlp, pem, timeout } = $transport;
        delivery.set_endpoint(signal, redact_userinfo(&otlp.endpoint));
        match otlp.protocol {
            Protocol::Grpc => {
                let mut builder = $builder
                    .with_tonic()
                    .with_endpoint(&otlp.endpoint)
                    .with_timeout(timeout)
                    .with_metadata(MetadataMap::from_headers(header_map(&otlp.headers)));
                if otlp.endpoint.starts_with("https:") {
                    builder = builder.with_tls_config(grpc_tls(&pem));
                }
                if otlp.gzip {
                    builder = builder.with_compression(Compression::Gzip);
                }
                builder.build().map_err(init_error)
            }
            Protocol::HttpProtobuf => {
                let mut builder = $builder
                    .with_http()
                    .with_protocol(Wire::HttpBinary)
                    .with_endpoint(&otlp.endpoint)
                    .with_timeout(timeout)
                    .with_headers(otlp.headers.iter().cloned().collect::<HashMap<_, _>>())
                    .with_http_client(RuntimeHttpClient::new(&pem, timeout, signal, delivery)?);
                if otlp.gzip {
                    builder = builder.with_compression(Compression::Gzip);
                }
                builder.build().map_err(init_error)
            }
        }
    }};
}

impl OtlpExporters {
    /// `bound`: the processor's own limit for an export, which the SDK's threads do not keep.
    pub(in crate::telemetry) fn new(
        signal: Signal,
        otlp: &OtlpConfig,
        bound: Duration,
        delivery: &Arc<ExportStats>,
        warnings: &mut Vec<String>,
    ) -> Self {
        let delivery = Arc::clone(delivery);
        Self {
            signal,
            delivery,
            pem: Pem::read(&otlp.tls, warnings),
            timeout: otlp.timeout.min(bound),
            otlp: otlp.clone(),
        }
    }

    /// Must be called inside a tokio runtime, as the next two.
    pub(in crate::telemetry) fn spans(self) -> Result<ReloadingExporter<SpanExporter>, InitError> {
        let build = |all: Self| build!(all, SpanExporter::builder());
        self.reloading(SpanExporter::set_resource, build)
    }

    pub(in crate::telemetry) fn logs(self) -> Result<ReloadingExporter<LogExporter>, InitError> {
        let build = |all: Self| build!(all, LogExporter::builder());
        self.reloading(LogExporter::set_resource, build)
    }

    pub(in crate::telemetry) fn metrics(
        self,
        temporality: Temporality,
    ) -> Result<ReloadingExporter<MetricExporter>, InitError> {
        let build = move |all: Self| build!(all, MetricExporter::builder().with_temporality(temporality));
        // Metrics are given their resource with each export.
        self.reloading(|_, _| (), build)
    }

    /// The exporter, and how to build it anew from changed files.
    fn reloading<E>(
        self,
        set_resource: fn(&mut E, &Resource),
        build: impl Fn(Self) -> Result<E, InitError> + Send + Sync + 'static,
    ) -> Result<ReloadingExporter<E>, InitError> {
        let tls = &self.otlp.tls;
        let files = [&tls.authorities, &tls.certificate, &tls.key];
        let files = files.into_iter().flatten().map(|(_, path)| path.clone()).collect();
        let exporter = build(self.clone())?;
        let rebuild = move || {
            let mut warnings = Vec::new();
            let pem = Pem::read(&self.otlp.tls, &mut warnings);
            // Half of a rotation, mostly: the next export reads them again.
            if warnings.is_empty() { build(Self { pem, ..self.clone() }).ok() } else { None }
        };
        Ok(ReloadingExporter::new(exporter, files, set_resource, Box::new(rebuild)))
    }
}

fn header_map(headers: &[(String, String)]) -> HeaderMap {
    let pair = |(key, value): &(String, String)| {
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::from_bytes(key.as_bytes()).ok()?, value))
    };
    headers.iter().filter_map(pair).collect()
}

/// The exporter's own default has no authorities at all.
fn grpc_tls(pem: &Pem) -> ClientTlsConfig {
    let config = match &pem.authorities {
        Some(authorities) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authorities)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    match &pem.identity {
        Some((certificate, key)) => config.identity(Identity::from_pem(certificate, key)),
        None => config,
    }
}

fn http_tls(pem: &Pem) -> Result<ClientConfig, InitError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(init_error)?;
    let builder = match &pem.authorities {
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(authorities) {
                roots.add(certificate.map_err(init_error)?).map_err(init_error)?;
            }
            builder.with_root_certificates(roots)
        }
        None => hyper_rustls::ConfigBuilderExt::with_native_roots(builder).map_err(init_error)?,
    };
    match &pem.identity {
        Some((certificate, key)) => {
            let chain = CertificateDer::pem_slice_iter(certificate)
                .collect::<Result<Vec<_>, _>>()
                .map_err(init_error)?;
            builder
                .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key).map_err(init_error)?)
                .map_err(init_error)
        }
        None => Ok(builder.with_no_client_auth()),
    }
}

/// Sends on the runtime: the SDK's threads have no reactor, and a client that needs one ends them for good.
#[derive(Clone)]
struct RuntimeHttpClient {
    client: Arc<dyn HttpClient>,
    runtime: tokio::runtime::Handle,
    signal: Signal,
    delivery: Arc<ExportStats>,
}

impl RuntimeHttpClient {
    fn new(
        pem: &Pem,
        timeout: Duration,
        signal: Signal,
        delivery: Arc<ExportStats>,
    ) -> Result<Self, InitError> {
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(http_tls(pem)?)
            .https_or_http()
            .enable_http1()
            .build();
        let runtime = tokio::runtime::Handle::try_current().map_err(init_error)?;
        Ok(Self { client: Arc::new(HyperClient::new(connector, timeout, None)), runtime, signal, delivery })
    }
}

impl fmt::Debug for RuntimeHttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RuntimeHttpClient")
    }
}

type ResponseFuture<'a> =
    std::pin::Pin<Box<dyn Future<Output = Result<http::Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for RuntimeHttpClient {
    // What `#[async_trait]` makes of the trait's method, without the macro's crate.
    fn send_bytes<'s, 'a>(&'s self, request: http::Request<Bytes>) -> ResponseFuture<'a>
    where
        's: 'a,
        Self: 'a,
    {
        let client = Arc::clone(&self.client);
        let sent = self.runtime.spawn(async move { client.send_bytes(request).await });
        Box::pin(async move {
            let answer = sent.await?;
            if let Err(error) = &answer {
                self.delivery.set_cause(self.signal, error_chain(error.as_ref()));
            }
            answer
        })
    }
}
