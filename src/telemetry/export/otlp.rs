//! Builds OTLP exporters from settings: the transport and what the exporters' crate leaves to us; it reads no
//! environment.

use std::{collections::HashMap, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry_otlp::{
    Compression, LogExporter, MetricExporter, Protocol as Wire, SpanExporter, WithExportConfig,
    WithHttpConfig, WithTonicConfig, tonic_types::metadata::MetadataMap,
};
use opentelemetry_sdk::{Resource, logs::LogExporter as _, metrics::Temporality, trace::SpanExporter as _};
use tonic::transport::{Channel, Endpoint};

use crate::{
    api::url::redact_userinfo,
    telemetry::{
        catalog::attributes::Signal,
        config::{
            InitError,
            otlp::{OtlpConfig, Protocol},
        },
        export::{
            dial::{Dialer, ProxyMode},
            http_client::RuntimeHttpClient,
            reloading::ReloadingExporter,
            tls::{Pem, grpc_tls, http_tls},
        },
        sources::export_stats::ExportStats,
    },
};

/// What one signal is pushed with.
#[derive(Clone)]
pub(in crate::telemetry) struct OtlpExporters {
    signal: Signal,
    delivery: Arc<ExportStats>,
    otlp: OtlpConfig,
    pem: Pem,
    timeout: Duration,
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
                if otlp.proxy.is_some() {
                    builder = builder.with_channel(proxied_channel(&otlp, &pem, timeout)?);
                } else if otlp.endpoint.starts_with("https:") {
                    builder = builder.with_tls_config(grpc_tls(&pem));
                }
                if otlp.gzip {
                    builder = builder.with_compression(Compression::Gzip);
                }
                builder.build().map_err(InitError::from_error)
            }
            Protocol::HttpProtobuf => {
                let mut builder = $builder
                    .with_http()
                    .with_protocol(Wire::HttpBinary)
                    .with_endpoint(&otlp.endpoint)
                    .with_timeout(timeout)
                    .with_headers(http_headers(&otlp))
                    .with_http_client(RuntimeHttpClient::new(
                        http_tls(&pem)?,
                        Dialer::new(otlp.proxy.clone().map(|proxy| (proxy, http_proxy_mode(&otlp)))),
                        timeout,
                        signal,
                        delivery,
                    )?);
                if otlp.gzip {
                    builder = builder.with_compression(Compression::Gzip);
                }
                builder.build().map_err(InitError::from_error)
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

/// gRPC needs a connection of its own to the collector, with TLS or without.
fn proxied_channel(otlp: &OtlpConfig, pem: &Pem, timeout: Duration) -> Result<Channel, InitError> {
    let mut endpoint =
        Endpoint::from_shared(otlp.endpoint.clone()).map_err(InitError::from_error)?.timeout(timeout);
    if otlp.endpoint.starts_with("https:") {
        endpoint = endpoint.tls_config(grpc_tls(pem)).map_err(InitError::from_error)?;
    }
    let dialer = Dialer::new(otlp.proxy.clone().map(|proxy| (proxy, ProxyMode::Tunnel)));
    Ok(endpoint.connect_with_connector_lazy(dialer))
}

/// Many proxies open no tunnel to a port without TLS.
fn http_proxy_mode(otlp: &OtlpConfig) -> ProxyMode {
    if otlp.endpoint.starts_with("https:") { ProxyMode::Tunnel } else { ProxyMode::Forward }
}

/// The exporter decodes what it is given, as if it came from the variable.
fn http_headers(otlp: &OtlpConfig) -> HashMap<String, String> {
    let mut headers = otlp.headers.clone();
    let proxy = otlp.proxy.as_ref().filter(|_| http_proxy_mode(otlp) == ProxyMode::Forward);
    let authorization = proxy.and_then(|proxy| proxy.authorization.as_ref()?.to_str().ok());
    headers.extend(authorization.map(|text| ("proxy-authorization".to_owned(), text.to_owned())));
    headers.into_iter().map(|(name, value)| (name, value.replace('%', "%25"))).collect()
}

fn header_map(headers: &[(String, String)]) -> HeaderMap {
    let pair = |(key, value): &(String, String)| {
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::from_bytes(key.as_bytes()).ok()?, value))
    };
    headers.iter().filter_map(pair).collect()
}
