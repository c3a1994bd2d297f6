//! The retry table: what follows from each class of error. The only place where that is decided.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

use crate::telemetry::ErrorType;

/// The first pause of a back-off.
pub const INITIAL_BACKOFF: Duration = Duration::from_secs(1);
/// The longest pause of a back-off, before jitter.
pub const MAX_BACKOFF: Duration = Duration::from_mins(5);

/// How long an attempt that met a newer state than it knew waits for the watch to bring that state.
pub const IMMEDIATE_DELAY: Duration = Duration::from_millis(50);

/// What follows from an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryPolicy {
    /// Nothing by itself: an edit or a dependency's arrival wakes the object.
    AwaitChange,
    /// Again after a pause that doubles from [`INITIAL_BACKOFF`] to [`MAX_BACKOFF`].
    Backoff,
    /// Again at once, so many times; then [`RetryPolicy::Backoff`].
    Immediate(u32),
}

/// The table.
#[must_use]
pub fn policy(class: ErrorType) -> RetryPolicy {
    match class {
        ErrorType::InvalidSpec | ErrorType::DependencyMissing => RetryPolicy::AwaitChange,
        ErrorType::Conflict => RetryPolicy::Immediate(5),
        ErrorType::NotFound => RetryPolicy::Immediate(1),
        ErrorType::Forbidden
        | ErrorType::NameConflict
        | ErrorType::Rejected
        | ErrorType::Internal
        | ErrorType::Throttled
        | ErrorType::Timeout
        | ErrorType::Unavailable => RetryPolicy::Backoff,
    }
}

/// How often an attempt that met this error is made again before it counts as a failure.
#[must_use]
pub fn immediate_retries(class: ErrorType) -> u32 {
    match policy(class) {
        RetryPolicy::Immediate(times) => times,
        _ => 0,
    }
}

/// The pause before the next attempt, after `failures` failed ones before this; `None`: no attempt by itself.
/// `chance` is from 0 to 1; what the API server asks for is obeyed.
#[must_use]
pub fn delay(
    class: ErrorType,
    failures: u32,
    retry_after: Option<Duration>,
    chance: f64,
) -> Option<Duration> {
    match policy(class) {
        RetryPolicy::AwaitChange => None,
        RetryPolicy::Backoff | RetryPolicy::Immediate(_) => {
            Some(backoff(failures, chance).max(retry_after.unwrap_or_default()))
        }
    }
}

/// An exponential pause, up to a quarter longer by chance, so that objects that failed together do not come
/// back together.
#[must_use]
pub fn backoff(failures: u32, chance: f64) -> Duration {
    let doubled = INITIAL_BACKOFF
        .saturating_mul(1_u32.checked_shl(failures.min(16)).unwrap_or(u32::MAX))
        .min(MAX_BACKOFF);
    doubled.mul_f64(1.0 + chance.clamp(0.0, 1.0) / 4.0).min(MAX_BACKOFF)
}

/// A number from 0 to 1 that nobody can foresee.
#[must_use]
pub fn jitter() -> f64 {
    let bits = u32::try_from(RandomState::new().build_hasher().finish() >> 32).unwrap_or_default();
    f64::from(bits) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_back_off_doubles_up_to_its_end() {
        let seconds: Vec<u64> = (0..12).map(|n| backoff(n, 0.0).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(backoff(u32::MAX, 1.0), MAX_BACKOFF);
        assert_eq!(backoff(2, 1.0), Duration::from_secs(5), "a quarter longer at most");
    }

    #[test]
    fn every_class_has_its_policy() {
        for class in ErrorType::ALL {
            let expected = match class.as_str() {
                "invalid_spec" | "dependency_missing" => None,
                "forbidden" | "name_conflict" | "conflict" | "not_found" | "rejected" | "internal"
                | "throttled" | "timeout" | "unavailable" => Some(8),
                other => unreachable!("{other} is not in the contract's table"),
            };
            assert_eq!(delay(class, 3, None, 0.0).map(|p| p.as_secs()), expected, "{class:?}");
        }
        assert_eq!(
            (
                immediate_retries(ErrorType::Conflict),
                immediate_retries(ErrorType::NotFound),
                immediate_retries(ErrorType::Rejected)
            ),
            (5, 1, 0)
        );
    }

    #[test]
    fn retry_after_is_obeyed() {
        let asked = Some(Duration::from_secs(30));
        assert_eq!(delay(ErrorType::Throttled, 0, asked, 0.0), asked);
        assert_eq!(delay(ErrorType::Throttled, 9, asked, 0.0), Some(MAX_BACKOFF));
    }

    #[test]
    fn chance_differs() {
        assert!((0..10).map(|_| jitter()).any(|c| (c - jitter()).abs() > f64::EPSILON));
    }
}
