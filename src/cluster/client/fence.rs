//! Refuses to send a write, or to wait for its answer, while this process does not lead, and records every
//! answer. Changes no request.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Method, Request, Response, StatusCode};
use kube::client::Body;
use tower::{BoxError, Layer, Service};

use crate::cluster::{
    leader_election::leadership::{Leadership, NotLeading},
    store::shared_state::SharedWatchState,
};

/// Candidates that do not lead must still write the Lease.
const LEASES: &str = "/apis/coordination.k8s.io/";

/// The layer is outside the one that measures: a refused write is not a call.
#[derive(Clone, Debug, Default)]
pub struct FenceLayer {
    /// Whether this process may write.
    pub leadership: Leadership,
    /// Learns here that the API server answers.
    pub watches: Arc<SharedWatchState>,
}

impl<S> Layer<S> for FenceLayer {
    type Service = FencedService<S>;

    fn layer(&self, inner: S) -> FencedService<S> {
        FencedService { inner, fence: self.clone() }
    }
}

/// The service that [`FenceLayer`] makes.
#[derive(Clone, Debug)]
pub struct FencedService<S> {
    inner: S,
    fence: FenceLayer,
}

/// Whether only the leader may send the request.
fn is_write(method: &Method, path: &str) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) && !path.starts_with(LEASES)
}

impl<S, B> Service<Request<Body>> for FencedService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let fenced = is_write(request.method(), request.uri().path());
        let FenceLayer { leadership, watches } = self.fence.clone();
        if fenced && !leadership.may_write() {
            return Box::pin(async { Err(NotLeading.into()) });
        }
        let mut future = Box::pin(self.inner.call(request));
        Box::pin(async move {
            // Checked on every poll: a paused process may resume before the request is sent.
            let fenced_future = std::future::poll_fn(|cx| {
                if fenced && !leadership.may_write() {
                    return Poll::Ready(Err(NotLeading.into()));
                }
                future.as_mut().poll(cx).map_err(Into::into)
            });
            let response = fenced_future.await?;
            let status = response.status();
            if !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS {
                watches.answered();
            }
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_leader_may_send() {
        for (method, path, write) in [
            (Method::GET, "/apis/apps/v1/deployments", false),
            (Method::PATCH, "/apis/apps/v1/namespaces/a/deployments/b", true),
            (Method::POST, "/apis/events.k8s.io/v1/namespaces/a/events", true),
            (Method::DELETE, "/api/v1/namespaces/a/services/b", true),
            (Method::PUT, "/apis/coordination.k8s.io/v1/namespaces/a/leases/elpio-operator", false),
        ] {
            assert_eq!(is_write(&method, path), write, "{method} {path}");
        }
    }
}
