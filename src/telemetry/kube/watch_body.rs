//! Notes when bytes of a watch's answer arrive; it passes every frame on as it is.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame, SizeHint};

use crate::telemetry::sources::watch_activity::WatchActivity;

/// The body of an answer; of a watch's, every frame is noted.
pub struct WatchBody<B> {
    // Boxed, so that it can be polled without projecting a pin by hand.
    inner: Pin<Box<B>>,
    watch: Option<(Arc<WatchActivity>, &'static str, String)>,
}

impl<B> fmt::Debug for WatchBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchBody")
            .field("watch", &self.watch.as_ref().map(|(_, resource, _)| resource))
            .finish_non_exhaustive()
    }
}

impl<B> WatchBody<B> {
    pub(in crate::telemetry) fn new(
        inner: B,
        watch: Option<(Arc<WatchActivity>, &'static str, String)>,
    ) -> Self {
        let body = Self { inner: Box::pin(inner), watch };
        body.record_activity();
        body
    }

    fn record_activity(&self) {
        if let Some((watch_activity, resource, path)) = &self.watch {
            watch_activity.record(resource, path);
        }
    }
}

impl<B: Body> Body for WatchBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = ready!(self.inner.as_mut().poll_frame(cx));
        if matches!(frame, Some(Ok(_))) {
            self.record_activity();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
