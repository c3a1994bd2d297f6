//! The exponential back-off and its jitter, for all retries. It never waits itself.
//!
//! Used by `controller/workqueue/retry.rs` (reconciles, by error class: 1 s to 5 min),
//! `cluster/store/backoff.rs` (watches: 0.4 s to 30 s), `cluster/events/series.rs` (Events: 1 s to 10 s),
//! `cluster/events/recorder.rs` (the last Events at shutdown: from 0.1 s), `telemetry/export/spans/retry.rs`
//! (exports of spans: 0.1 s to 0.4 s) and `render/function/build_plan.rs` (builds: 10 s to 5 min). Jitter
//! only: `cluster/store/{crd_watch,shared_state}.rs`.

use std::time::Duration;

/// Delays that double from `initial` up to `max`.
///
/// ```
/// use std::time::Duration;
/// use elpio_operator::backoff::ExponentialBackoff;
///
/// let backoff = ExponentialBackoff::new(Duration::from_secs(1), Duration::from_secs(30));
/// assert_eq!(backoff.delay(0), Duration::from_secs(1));
/// assert_eq!(backoff.delay(3), Duration::from_secs(8));
/// assert_eq!(backoff.delay(99), Duration::from_secs(30));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ExponentialBackoff {
    initial: Duration,
    max: Duration,
}

impl ExponentialBackoff {
    /// A back-off from `initial` to at most `max`.
    #[must_use]
    pub const fn new(initial: Duration, max: Duration) -> Self {
        Self { initial, max }
    }

    /// The delay before the next attempt after `failures` failed ones.
    #[must_use]
    pub fn delay(self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
        self.initial.saturating_mul(factor).min(self.max)
    }

    /// Like [`Self::delay`], plus up to a quarter at random, so that clients that failed together do not
    /// retry together.
    #[must_use]
    pub fn jittered(self, failures: u32) -> Duration {
        jittered(self.delay(failures)).min(self.max)
    }
}

/// The pause plus up to a quarter at random.
#[must_use]
pub fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(1.0 + fastrand::f64() / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let backoff = ExponentialBackoff::new(Duration::from_secs(1), Duration::from_mins(5));
        let seconds: Vec<u64> = (0..12).map(|failures| backoff.delay(failures).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(backoff.delay(u32::MAX), Duration::from_mins(5));
        assert_eq!(backoff.jittered(u32::MAX), Duration::from_mins(5), "chance does not exceed it");
    }

    #[test]
    fn jitter_adds_a_quarter_at_most_and_differs() {
        let second = Duration::from_secs(1);
        let pauses: Vec<Duration> = (0..100).map(|_| jittered(second)).collect();
        assert!(pauses.iter().all(|pause| (second..=second.mul_f64(1.25)).contains(pause)));
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}
