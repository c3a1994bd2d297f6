//! Waiting for something to become true, and saying what was there instead when it does not. No fixed sleeps.

use std::{
    fmt::Display,
    panic::Location,
    time::{Duration, Instant},
};

/// The longest pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks `probe` until it answers `Ok`.
///
/// It is asked quickly at first and ten times a second later; it runs to its end once more after `timeout`,
/// so that a busy machine does not make a slow probe fail.
///
/// # Panics
/// After `timeout`, with `what`, the caller's place, and what `probe` saw last.
#[track_caller]
pub fn eventually<T, E: Display, P: AsyncFnMut() -> Result<T, E>>(
    what: &str,
    timeout: Duration,
    mut probe: P,
) -> impl Future<Output = T> {
    let place = Location::caller();
    async move {
        let start = Instant::now();
        let mut pause = Duration::from_millis(5);
        loop {
            let late = start.elapsed() > timeout;
            match probe().await {
                Ok(seen) => return seen,
                Err(seen) => assert!(!late, "{what}: not within {timeout:?} ({place})\nlast seen: {seen}"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE);
        }
    }
}
