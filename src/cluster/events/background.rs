//! Makes the calls for waiting Events and retries those that failed: concurrently with the reconciles, after
//! their writes.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream::FuturesUnordered};

use crate::cluster::events::{queue::CONCURRENT_WRITES, recorder::Recorder};

/// A call that takes longer no longer delays the next one, so that one hanging webhook does not stop all. It
/// is also the interval of calls while the queue allows none.
const SLOW_CALL: Duration = Duration::from_millis(250);

/// A call that takes longer hangs: it delays no other. Calls are shorter at an API server that is merely busy, where
/// more of them would delay children and statuses.
const HANGING_CALL: Duration = Duration::from_secs(2);

impl Recorder {
    /// I/O: makes waiting and due calls until it is cancelled.
    pub async fn run(&self) {
        let inner = &*self.0;
        let (mut running, mut begun) = (FuturesUnordered::new(), Vec::new());
        // Calls allowed beyond the slow ones that still run.
        let mut slow = 0;
        // When the last call began or ended.
        let mut stalled_since = tokio::time::Instant::now();
        loop {
            let now = Instant::now();
            let allowed = (inner.queue.allowed() + slow).min(CONCURRENT_WRITES);
            let (due, next_due) = {
                let mut state = inner.state.lock();
                state.sweep(now);
                (state.take_due(now), state.next_due())
            };
            for event in due {
                inner.queue.push(event);
            }
            let next = std::iter::from_fn(|| inner.queue.pop());
            for slot in next.take(allowed.saturating_sub(running.len())) {
                begun.push(now);
                running.push(async move {
                    inner.write_in(slot).await;
                    now
                });
                stalled_since = tokio::time::Instant::now();
            }
            let has_room = running.len() < allowed;
            let due = async {
                match next_due {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(ended) = running.next(), if !running.is_empty() => {
                    if let Some(index) = begun.iter().position(|at| *at == ended) {
                        begun.swap_remove(index);
                    }
                    slow = begun.iter().filter(|at| at.elapsed() >= HANGING_CALL).count();
                    stalled_since = tokio::time::Instant::now();
                }
                () = tokio::time::sleep_until(stalled_since + SLOW_CALL),
                    if !has_room && running.len() < CONCURRENT_WRITES =>
                {
                    // Even while the queue allows none, one call runs.
                    slow = running.len() + usize::from(inner.queue.allowed() == 0);
                    stalled_since = tokio::time::Instant::now();
                }
                () = due => {}
                () = inner.queue.wake.notified() => {}
                () = inner.queue.reconciles.idle.notified() => {}
            }
        }
    }
}
