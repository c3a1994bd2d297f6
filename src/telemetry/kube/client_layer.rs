//! The tower layer around the Kubernetes client: client spans, request durations, the last byte of each
//! watch. It adds the trace context and the audit ID to a request and changes nothing else.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt as _, combinators::MapFrame};
use kube::client::Body;
use tower::{BoxError, Layer, Service};

use crate::telemetry::{
    kube::{
        path_template,
        request_span::{ApiServer, RequestSpan},
    },
    metrics::Metrics,
    sources::watch_activity::WatchActivity,
};

/// Layer for `kube::client::ClientBuilder::with_layer`.
#[derive(Clone, Debug)]
pub struct TelemetryLayer {
    metrics: Metrics,
    server: Arc<ApiServer>,
}

impl Metrics {
    /// The layer for the client; [`TelemetryLayer::for_server`] sets the API server.
    #[must_use]
    pub fn client_layer(&self) -> TelemetryLayer {
        TelemetryLayer { metrics: self.clone(), server: Arc::default() }
    }
}

impl TelemetryLayer {
    /// Sets the server: requests in this layer have only paths.
    #[must_use]
    pub fn for_server(self, server: &http::Uri) -> Self {
        Self { server: Arc::new(ApiServer::of(server)), ..self }
    }
}

impl<S> Layer<S> for TelemetryLayer {
    type Service = TelemetryService<S>;

    fn layer(&self, inner: S) -> TelemetryService<S> {
        TelemetryService { inner, metrics: self.metrics.clone(), server: Arc::clone(&self.server) }
    }
}

/// The service that [`TelemetryLayer`] makes.
#[derive(Clone, Debug)]
pub struct TelemetryService<S> {
    inner: S,
    metrics: Metrics,
    server: Arc<ApiServer>,
}

/// The body of a response; records every frame of a watch and passes it on unchanged.
pub type RecordedBody<B> = MapFrame<B, Box<dyn FnMut(Frame<Bytes>) -> Frame<Bytes> + Send>>;

/// The response to a request.
pub type ResponseFuture<B> =
    Pin<Box<dyn Future<Output = Result<http::Response<RecordedBody<B>>, BoxError>> + Send>>;

impl<S, B> Service<http::Request<Body>> for TelemetryService<S>
where
    S: Service<http::Request<Body>, Response = http::Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
{
    type Response = http::Response<RecordedBody<B>>;
    type Error = BoxError;
    type Future = ResponseFuture<B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let target = path_template::parse(request.uri().path());
        let watched =
            target.resource.filter(|_| path_template::is_watch(request.uri())).and_then(|resource| {
                let watch_activity: &Arc<WatchActivity> = &self.metrics.instruments.as_ref()?.watch_activity;
                Some((Arc::clone(watch_activity), resource, request.uri().path().to_owned()))
            });
        let record = move || {
            if let Some((watch_activity, resource, path)) = &watched {
                watch_activity.record(resource, path);
            }
        };
        let mut call = RequestSpan::begin(&self.metrics, &self.server, &mut request, &target.template);
        let future = self.inner.call(request);
        Box::pin(async move {
            match future.await {
                Ok(response) => {
                    call.on_response(response.status(), response.headers());
                    record();
                    Ok(response.map(|body| {
                        body.map_frame(Box::new(move |frame| {
                            record();
                            frame
                        }) as Box<_>)
                    }))
                }
                Err(error) => {
                    let error = error.into();
                    call.on_error(error.as_ref());
                    Err(error)
                }
            }
        })
    }
}
