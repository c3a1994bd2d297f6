//! How long a watch waits after a failure, and when a refusal has lasted long enough to change its state. It
//! reads no clock and never sleeps.

use std::time::{Duration, Instant};

use crate::backoff::ExponentialBackoff;

/// Why a watch failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchFailure {
    /// The API server does not permit it; with its message.
    Forbidden(String),
    /// The API server does not serve it.
    Absent,
    /// The resourceVersion is too old or was lost in a restore: only a new list helps.
    Expired,
    /// There was no answer.
    Unreachable(String),
    /// The API server responded with another error, and may ask for a pause.
    Failed(String, Option<Duration>),
}

impl WatchFailure {
    /// The failure of a watch that the API server ended within [`MIN_LIFE`].
    #[must_use]
    pub fn ended_at_once() -> Self {
        Self::Failed("the API server closed the watch immediately".to_owned(), None)
    }

    /// The message of the failure, if it has one.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        match self {
            Self::Forbidden(why) | Self::Unreachable(why) | Self::Failed(why, _) => Some(why),
            Self::Absent | Self::Expired => None,
        }
    }

    /// The pause that the API server asks for.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        if let Self::Failed(_, Some(pause)) = self { *pause } else { Duration::ZERO }
    }
}

/// A watch that ends sooner has failed; a watch of objects only if it brought no change.
pub const MIN_LIFE: Duration = Duration::from_secs(1);
/// How long a refusal must last before it counts, if there is a cache: a starting API server answers 403
/// until its authorizer has synced.
const FORBIDDEN_AFTER: Duration = Duration::from_secs(10);
/// The same before the first list: nothing can be lost, and startup waits for it.
const FORBIDDEN_AT_START_AFTER: Duration = Duration::from_secs(3);
/// How long an API must be absent before it counts, if there is a cache.
const ABSENT_AFTER: Duration = Duration::from_secs(2);

/// The back-off of a watch, before jitter.
const BACKOFF: ExponentialBackoff =
    ExponentialBackoff::new(Duration::from_millis(400), Duration::from_secs(30));

/// The consecutive failures of one watch.
#[derive(Debug, Default)]
pub struct WatchBackoff {
    failures: u32,
    refused: Option<(bool, Instant)>,
}

impl WatchBackoff {
    /// Counts a failure. Returns the pause before the next attempt, without jitter.
    pub fn record(&mut self, failure: &WatchFailure, now: Instant) -> Duration {
        let pause = BACKOFF.delay(self.failures).max(failure.retry_after());
        self.failures = self.failures.saturating_add(1);
        let kind = match failure {
            WatchFailure::Forbidden(_) => Some(true),
            WatchFailure::Absent => Some(false),
            _ => None,
        };
        self.refused = match (kind, self.refused) {
            (Some(kind), Some((same, since))) if kind == same => Some((same, since)),
            (kind, _) => kind.map(|kind| (kind, now)),
        };
        pause
    }

    /// Whether the last recorded refusal has lasted long enough; `has_cache`: the watch has synced.
    #[must_use]
    pub fn refusal_lasts(&self, has_cache: bool, now: Instant) -> bool {
        self.refused.is_some_and(|(forbidden, since)| {
            let bound = match (forbidden, has_cache) {
                (true, true) => FORBIDDEN_AFTER,
                (true, false) => FORBIDDEN_AT_START_AFTER,
                (false, true) => ABSENT_AFTER,
                (false, false) => Duration::ZERO,
            };
            now.saturating_duration_since(since) >= bound
        })
    }

    /// Forgets the failures if the watch lived long enough, whatever ended it.
    pub fn reset_after(&mut self, lived: Duration) {
        if lived >= BACKOFF.delay(self.failures) {
            self.reset();
        }
    }

    /// Forgets the failures: the watch works.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// The number of consecutive failures.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forbidden() -> WatchFailure {
        WatchFailure::Forbidden("no".into())
    }

    #[test]
    fn pauses_double_to_a_bound_and_a_success_resets_them() {
        let (mut backoff, now) = (WatchBackoff::default(), Instant::now());
        let pauses: Vec<u128> =
            (0..9).map(|_| backoff.record(&WatchFailure::Absent, now).as_millis()).collect();
        assert_eq!(pauses, [400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
        for _ in 0..100 {
            backoff.record(&WatchFailure::Absent, now);
        }
        assert_eq!(backoff.record(&WatchFailure::Absent, now), BACKOFF.delay(u32::MAX));
        backoff.reset();
        assert_eq!(backoff.record(&WatchFailure::Absent, now), BACKOFF.delay(0));
    }

    #[test]
    fn the_pause_that_the_api_server_asks_for_is_the_least() {
        let throttled = WatchFailure::Failed(String::new(), Some(Duration::from_secs(2)));
        let (mut backoff, now) = (WatchBackoff::default(), Instant::now());
        let pauses: Vec<u128> = (0..5).map(|_| backoff.record(&throttled, now).as_millis()).collect();
        assert_eq!(pauses, [2000, 2000, 2000, 3200, 6400]);
    }

    #[test]
    fn a_watch_that_lived_longer_than_its_next_pause_forgets_its_failures() {
        let mut backoff = WatchBackoff::default();
        for _ in 0..20 {
            backoff.record(&WatchFailure::Unreachable(String::new()), Instant::now());
        }
        backoff.reset_after(Duration::from_secs(20));
        assert_eq!(backoff.failures(), 20);
        backoff.reset_after(Duration::from_mins(1));
        assert_eq!(backoff.failures(), 0, "a minute of calm forgets them");
    }

    #[test]
    fn a_refusal_counts_when_it_has_lasted() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        for (failure, has_cache, seconds, lasts) in [
            (forbidden(), true, 9, false),
            (forbidden(), true, 10, true),
            (forbidden(), false, 2, false),
            (forbidden(), false, 3, true),
            (WatchFailure::Absent, true, 1, false),
            (WatchFailure::Absent, true, 2, true),
            (WatchFailure::Absent, false, 0, true),
            (WatchFailure::Unreachable(String::new()), true, 60, false),
            (WatchFailure::Failed(String::new(), None), false, 60, false),
        ] {
            let mut backoff = WatchBackoff::default();
            backoff.record(&failure, start);
            backoff.record(&failure, after(seconds));
            assert_eq!(
                backoff.refusal_lasts(has_cache, after(seconds)),
                lasts,
                "{failure:?} {has_cache} {seconds}"
            );
        }
    }

    #[test]
    fn an_outage_in_between_begins_a_refusal_anew() {
        let (mut backoff, start) = (WatchBackoff::default(), Instant::now());
        backoff.record(&forbidden(), start);
        backoff.record(&WatchFailure::Unreachable(String::new()), start + Duration::from_secs(5));
        backoff.record(&forbidden(), start + Duration::from_secs(11));
        assert!(!backoff.refusal_lasts(true, start + Duration::from_secs(11)));
    }
}
