//! Makes the calls for Events that wait, and those that failed again: beside the reconciles, and after their
//! writes.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream::FuturesUnordered};

use crate::cluster::events::{queue::CONCURRENT_WRITES, recorder::Recorder};

/// A call that takes longer holds up the next one no more, so that one webhook that hangs does not stop all. As often
/// one is made where Events are held.
const SLOW_CALL: Duration = Duration::from_millis(250);

impl Recorder {
    /// I/O: makes the calls that wait and those that are due, until it is cancelled.
    pub async fn run(&self) {
        let inner = &*self.0;
        let mut running = FuturesUnordered::new();
        // Calls that are allowed beyond those that run and are slow.
        let mut slow = 0;
        // When the last call began or ended.
        let mut stalled_since = tokio::time::Instant::now();
        loop {
            let now = Instant::now();
            let allowed = (inner.queue.allowed() + slow).min(CONCURRENT_WRITES);
            let due = {
                let mut state = inner.state.lock();
                state.sweep(now);
                state.due(now, allowed)
            };
            let next = due.into_iter().chain(std::iter::from_fn(|| inner.queue.pop()));
            for name in next.take(allowed.saturating_sub(running.len())) {
                running.push(async move { inner.write(&name).await });
                stalled_since = tokio::time::Instant::now();
            }
            let at = inner.state.lock().next_due();
            let has_room = running.len() < allowed;
            let due = async {
                match at.filter(|_| has_room) {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(()) = running.next(), if !running.is_empty() => {
                    (slow, stalled_since) = (0, tokio::time::Instant::now());
                }
                () = tokio::time::sleep_until(stalled_since + SLOW_CALL),
                    if !has_room && running.len() < CONCURRENT_WRITES =>
                {
                    // Where Events are held, one is written all the same.
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
