//! Polls until a condition holds, instead of sleeping for a fixed time; a timeout reports what was observed
//! last.

use std::{
    fmt::Display,
    panic::Location,
    time::{Duration, Instant},
};

/// The longest delay between two polls.
const MAX_DELAY: Duration = Duration::from_millis(100);

/// Polls `probe` until it returns `Ok`.
///
/// It polls after 5 ms at first, and ten times a second later. One poll runs to its end after `timeout`, so
/// that a slow probe does not fail on a busy machine.
///
/// # Panics
/// After `timeout`, with `what`, the caller's location, and the last error of `probe`.
#[track_caller]
pub fn eventually<T, E: Display, P: AsyncFnMut() -> Result<T, E>>(
    what: &str,
    timeout: Duration,
    mut probe: P,
) -> impl Future<Output = T> {
    let location = Location::caller();
    async move {
        let start = Instant::now();
        let mut delay = Duration::from_millis(5);
        loop {
            let is_last = start.elapsed() > timeout;
            match probe().await {
                Ok(value) => return value,
                Err(error) => {
                    assert!(!is_last, "{what}: not within {timeout:?} ({location})\nlast error: {error}");
                }
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(MAX_DELAY);
        }
    }
}
