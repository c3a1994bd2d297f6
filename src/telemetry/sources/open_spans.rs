//! Counts recording spans that have started but not ended. The span of a reconcile or a step ends when its last
//! handle is dropped, possibly after the reconcile returned (the client's queue has its own handle). It ends none.

use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::sync::Notify;

/// The open spans.
#[derive(Debug, Default)]
pub(in crate::telemetry) struct OpenSpans {
    count: AtomicUsize,
    none_left: Notify,
}

impl OpenSpans {
    pub(in crate::telemetry) fn span_started(&self) {
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    pub(in crate::telemetry) fn span_ended(&self) {
        if self.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.none_left.notify_waiters();
        }
    }

    /// Waits until no span is open, but at most `timeout`: spans that are still open then are lost.
    pub(in crate::telemetry) async fn wait_until_none(&self, timeout: Duration) {
        // After a timeout, ended spans are exported all the same.
        let _ = tokio::time::timeout(timeout, async {
            loop {
                let mut none_left = pin!(self.none_left.notified());
                none_left.as_mut().enable();
                if self.count.load(Ordering::Acquire) == 0 {
                    return;
                }
                none_left.await;
            }
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_waits_for_the_last_span_and_not_longer_than_it_may() {
        let spans = Arc::<OpenSpans>::default();
        let hour = Duration::from_hours(1);
        spans.wait_until_none(hour).await;
        spans.span_started();
        spans.span_started();
        let begun = tokio::time::Instant::now();
        spans.wait_until_none(Duration::from_secs(1)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(1), "two are open");
        let ending = Arc::clone(&spans);
        tokio::spawn(async move {
            for _ in 0..2 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                ending.span_ended();
            }
        });
        spans.wait_until_none(hour).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(3), "as soon as both have ended");
    }
}
