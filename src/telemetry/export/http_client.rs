//! The client for OTLP over HTTP; it knows nothing about the payload.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use opentelemetry_http::{HttpClient, HttpError, hyper::HyperClient};
use rustls::ClientConfig;
use tokio::task::JoinSet;

use crate::telemetry::{
    catalog::attributes::Signal,
    config::InitError,
    export::dial::Dialer,
    sources::{error_chain::error_chain, export_stats::ExportStats},
};

/// Sends on the runtime: the SDK's threads have no reactor, and a client that needs one would panic and end them.
#[derive(Clone)]
pub(in crate::telemetry) struct RuntimeHttpClient {
    client: Arc<dyn HttpClient>,
    runtime: tokio::runtime::Handle,
    signal: Signal,
    export_stats: Arc<ExportStats>,
}

impl RuntimeHttpClient {
    pub(in crate::telemetry) fn new(
        tls: ClientConfig,
        dialer: Dialer,
        timeout: Duration,
        signal: Signal,
        export_stats: Arc<ExportStats>,
    ) -> Result<Self, InitError> {
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(dialer);
        let runtime = tokio::runtime::Handle::try_current().map_err(InitError::from_error)?;
        let client = Arc::new(HyperClient::new(connector, timeout, None));
        Ok(Self { client, runtime, signal, export_stats })
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
    // Expanded `#[async_trait]`, to avoid a dependency on the macro.
    fn send_bytes<'s, 'a>(&'s self, request: http::Request<Bytes>) -> ResponseFuture<'a>
    where
        's: 'a,
        Self: 'a,
    {
        let client = Arc::clone(&self.client);
        Box::pin(async move {
            self.export_stats.set_cause(self.signal, None);
            // Dropping this future aborts the task.
            let mut task = JoinSet::new();
            task.spawn_on(async move { client.send_bytes(request).await }, &self.runtime);
            let result = task.join_next().await.ok_or("no request was sent")??;
            let cause = result.as_ref().err().map(|error| error_chain(error.as_ref()));
            self.export_stats.set_cause(self.signal, cause);
            result
        })
    }
}
