//! The retry table: what follows from each class of error. Used by `reconcile/failure.rs`,
//! `reconcile/result.rs` and `reconcile/status_write.rs`; a panic uses the plain back-off.

use std::time::Duration;

use crate::{backoff::ExponentialBackoff, telemetry::ErrorType};

/// The back-off of failed attempts, before jitter.
pub const BACKOFF: ExponentialBackoff =
    ExponentialBackoff::new(Duration::from_secs(1), Duration::from_mins(5));

/// How long an attempt that met a newer state waits for the watch to deliver it.
pub const IMMEDIATE_DELAY: Duration = Duration::from_millis(50);

/// What follows from an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryPolicy {
    /// No retry: an edit or a new dependency triggers the next attempt.
    AwaitChange,
    /// Retry with the back-off [`BACKOFF`].
    Backoff,
    /// Retry at once, this many times; then [`RetryPolicy::Backoff`].
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

/// How often an attempt with this error is repeated before it counts as a failure.
#[must_use]
pub fn immediate_retries(class: ErrorType) -> u32 {
    match policy(class) {
        RetryPolicy::Immediate(times) => times,
        _ => 0,
    }
}

/// The pause before the next attempt after `failures` earlier failures; `None`: no retry. Never shorter than
/// the API server's `Retry-After`.
#[must_use]
pub fn delay(class: ErrorType, failures: u32, retry_after: Option<Duration>) -> Option<Duration> {
    match policy(class) {
        RetryPolicy::AwaitChange => None,
        RetryPolicy::Backoff | RetryPolicy::Immediate(_) => {
            Some(BACKOFF.jittered(failures).max(retry_after.unwrap_or_default()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_its_policy() {
        for class in ErrorType::ALL {
            let expected = match class.as_str() {
                "invalid_spec" | "dependency_missing" => false,
                "forbidden" | "name_conflict" | "conflict" | "not_found" | "rejected" | "internal"
                | "throttled" | "timeout" | "unavailable" => true,
                other => unreachable!("{other} is not in the contract's table"),
            };
            let delay = delay(class, 3, None);
            assert_eq!(delay.is_some(), expected, "{class:?}");
            assert!(
                delay.is_none_or(|delay| (8.0..=10.0).contains(&delay.as_secs_f64())),
                "{class:?}: {delay:?}"
            );
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
        assert_eq!(delay(ErrorType::Throttled, 0, asked), asked);
        assert_eq!(delay(ErrorType::Throttled, 9, asked), Some(BACKOFF.delay(u32::MAX)));
    }
}
