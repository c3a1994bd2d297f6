//! Builds OTLP exporters from settings: the transport, and what `opentelemetry-otlp` does not do. It reads no
//! environment.

use std::{collections::HashMap, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, header::USER_AGENT};
use opentelemetry_otlp::{
    Compression, LogExporter, MetricExporter, Protocol as Wire, WithExportConfig, WithHttpConfig,
    WithTonicConfig,
};
use opentelemetry_sdk::{Resource, logs::LogExporter as _, metrics::Temporality};
use tonic::{
    metadata::MetadataMap,
    transport::{Channel, Endpoint},
};

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
            spans::{OtlpSpanExporter, SpanSender},
            tls::{Pem, grpc_tls, http_tls},
        },
        sources::export_stats::ExportStats,
    },
};

/// Builds the exporter of one signal.
#[derive(Clone)]
pub(in crate::telemetry) struct OtlpExporters {
    signal: Signal,
    export_stats: Arc<ExportStats>,
    otlp: OtlpConfig,
    pem: Pem,
    timeout: Duration,
}

/// Sets the options that the builders for logs and metrics share; they have no common type.
macro_rules! build {
    ($exporters:expr, $builder:expr) => {{
        let all: OtlpExporters = $exporters;
        match all.otlp.protocol {
            Protocol::Grpc => {
                let mut builder = $builder
                    .with_tonic()
                    .with_channel(all.channel()?)
                    .with_timeout(all.timeout)
                    .with_metadata(MetadataMap::from_headers(header_map(&all.otlp.headers)));
                if all.otlp.gzip {
                    builder = builder.with_compression(Compression::Gzip);
                }
                builder.build().map_err(InitError::from_error)
            }
            Protocol::HttpProtobuf => {
                let mut builder = $builder
                    .with_http()
                    .with_protocol(Wire::HttpBinary)
                    .with_endpoint(&all.otlp.endpoint)
                    .with_timeout(all.timeout)
                    .with_headers(escaped(http_headers(&all.otlp)))
                    .with_http_client(all.http_client()?);
                if all.otlp.gzip {
                    builder = builder.with_compression(Compression::Gzip);
                }
                builder.build().map_err(InitError::from_error)
            }
        }
    }};
}

impl OtlpExporters {
    /// `bound`: the processor's limit for an export, which the SDK's threads do not enforce.
    pub(in crate::telemetry) fn new(
        signal: Signal,
        otlp: &OtlpConfig,
        bound: Duration,
        export_stats: &Arc<ExportStats>,
        warnings: &mut Vec<String>,
    ) -> Self {
        export_stats.set_endpoint(signal, redact_userinfo(&otlp.endpoint));
        Self {
            signal,
            export_stats: Arc::clone(export_stats),
            pem: Pem::read(&otlp.tls, warnings),
            timeout: otlp.timeout.min(bound),
            otlp: otlp.clone(),
        }
    }

    /// Must be called inside a tokio runtime, like the next two.
    pub(in crate::telemetry) fn spans(self) -> Result<ReloadingExporter<OtlpSpanExporter>, InitError> {
        let build = |all: Self| Ok(OtlpSpanExporter::new(all.span_sender()?, all.timeout, all.export_stats));
        self.reloading(OtlpSpanExporter::set_resource, build)
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
        // Metrics receive their resource with each export.
        self.reloading(|_, _| (), build)
    }

    /// Wraps the exporter so that it is rebuilt when its files change.
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
            let read = Pem::read_again(&self.otlp.tls).map_err(|warnings| warnings.join("; "));
            let rebuilt = read.and_then(|pem| {
                build(Self { pem, ..self.clone() }).map_err(|error| self.otlp.tls.unusable(&error))
            });
            rebuilt.map_err(|why| format!("{}: {why}", self.signal.as_str()))
        };
        Ok(ReloadingExporter::new(exporter, files, set_resource, Box::new(rebuild)))
    }

    fn span_sender(&self) -> Result<SpanSender, InitError> {
        let OtlpConfig { protocol, endpoint, headers, gzip, .. } = &self.otlp;
        Ok(match protocol {
            Protocol::Grpc => SpanSender::grpc(self.channel()?, with_user_agent(header_map(headers)), *gzip),
            Protocol::HttpProtobuf => SpanSender::http(
                self.http_client()?,
                endpoint.parse().map_err(InitError::from_error)?,
                with_user_agent(header_map(&http_headers(&self.otlp))),
                *gzip,
            ),
        })
    }

    /// A lazily opened connection to the collector.
    fn channel(&self) -> Result<Channel, InitError> {
        let endpoint = Endpoint::from_shared(self.otlp.endpoint.clone()).map_err(InitError::from_error)?;
        let mut endpoint = endpoint.timeout(self.timeout).connect_timeout(self.timeout);
        if self.otlp.endpoint.starts_with("https:") {
            endpoint = endpoint.tls_config(grpc_tls(&self.pem)).map_err(InitError::from_error)?;
        }
        Ok(endpoint.connect_with_connector_lazy(self.dialer(ProxyMode::Tunnel)))
    }

    fn http_client(&self) -> Result<RuntimeHttpClient, InitError> {
        RuntimeHttpClient::new(
            http_tls(&self.pem)?,
            self.dialer(http_proxy_mode(&self.otlp)),
            self.timeout,
            self.signal,
            Arc::clone(&self.export_stats),
        )
    }

    fn dialer(&self, mode: ProxyMode) -> Dialer {
        Dialer::new(self.otlp.proxy.clone().map(|proxy| (proxy, mode)))
    }
}

/// Many proxies refuse a tunnel to a port without TLS.
fn http_proxy_mode(otlp: &OtlpConfig) -> ProxyMode {
    if otlp.endpoint.starts_with("https:") { ProxyMode::Tunnel } else { ProxyMode::Forward }
}

/// The configured headers, and the one for a forwarding proxy.
fn http_headers(otlp: &OtlpConfig) -> Vec<(String, String)> {
    let proxy = otlp.proxy.as_ref().filter(|_| http_proxy_mode(otlp) == ProxyMode::Forward);
    let authorization = proxy.and_then(|proxy| proxy.authorization.as_ref()?.to_str().ok());
    let authorization = authorization.map(|text| ("proxy-authorization".to_owned(), text.to_owned()));
    otlp.headers.iter().cloned().chain(authorization).collect()
}

/// `opentelemetry-otlp` decodes its input as if it came from the variable.
fn escaped(headers: Vec<(String, String)>) -> HashMap<String, String> {
    headers.into_iter().map(|(name, value)| (name, value.replace('%', "%25"))).collect()
}

/// Sets the `User-Agent` header (OTLP exporter specification, "User Agent"), unless it is configured.
fn with_user_agent(mut headers: HeaderMap) -> HeaderMap {
    let own = concat!("Elpio-OTLP-Exporter-Rust/", env!("CARGO_PKG_VERSION"));
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(own));
    headers
}

/// The last value of a duplicate name wins.
fn header_map(headers: &[(String, String)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let pair = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value).ok());
        if let Some((name, mut value)) = pair {
            value.set_sensitive(true);
            map.insert(name, value);
        }
    }
    map
}
