//! When a failed call for a series of Events is retried. Pure; takes the time as an argument.

use std::time::{Duration, Instant};

use crate::backoff::ExponentialBackoff;

/// The back-off of a failed call, and the limits of its retries.
const BACKOFF: ExponentialBackoff = ExponentialBackoff::new(Duration::from_secs(1), Duration::from_secs(10));
pub const MAX_ATTEMPTS: u32 = 16;
const RETRY_WINDOW: Duration = Duration::from_mins(10);

/// The next attempt of a failed call.
#[derive(Clone, Copy, Debug)]
pub struct WriteRetry {
    attempts: u32,
    first_failed: Instant,
    /// When it is due.
    pub at: Instant,
}

impl WriteRetry {
    /// The attempt that follows `previous`, which failed now; `None` if there have been too many.
    #[must_use]
    pub fn next(previous: Option<Self>, retry_after: Option<Duration>, now: Instant) -> Option<Self> {
        let (attempts, first_failed) =
            previous.map_or((1, now), |retry| (retry.attempts + 1, retry.first_failed));
        let at = now + retry_after.unwrap_or_default().max(BACKOFF.delay(attempts - 1));
        let is_in_time = attempts < MAX_ATTEMPTS && at <= first_failed + RETRY_WINDOW;
        is_in_time.then_some(Self { attempts, first_failed, at })
    }
}
