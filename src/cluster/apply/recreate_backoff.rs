//! How soon an object that is created only once may be recreated under its name: a pruner that deletes failed
//! runs must not make the operator build for ever. It makes no request.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// Creation and the first recreation are immediate; from then on the delay doubles.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(5);
/// What was not created for so long is forgotten.
const FORGET: Duration = Duration::from_hours(1);

/// How often an object was created, and when last, by owner and name.
#[derive(Debug, Default)]
pub struct RecreateBackoff(Mutex<HashMap<(String, String), (u32, Instant)>>);

impl RecreateBackoff {
    /// How long to wait before this owner's object may be created; `None`: not at all.
    pub fn delay(&self, owner: &str, name: &str) -> Option<Duration> {
        self.delay_at(owner, name, Instant::now())
    }

    /// Records a creation.
    pub fn record_create(&self, owner: &str, name: &str) {
        self.record_create_at(owner, name, Instant::now());
    }

    fn delay_at(&self, owner: &str, name: &str, now: Instant) -> Option<Duration> {
        let created = self.0.lock();
        let (times, last) = created.get(&(owner.to_owned(), name.to_owned()))?;
        let delay = match *times {
            0 | 1 => Duration::ZERO,
            more => {
                FIRST.saturating_mul(1_u32.checked_shl((more - 2).min(16)).unwrap_or(u32::MAX)).min(LONGEST)
            }
        };
        Some((*last + delay).saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    fn record_create_at(&self, owner: &str, name: &str, now: Instant) {
        let mut created = self.0.lock();
        created.retain(|_, (_, last)| now.duration_since(*last) < FORGET);
        let (times, last) = created.entry((owner.to_owned(), name.to_owned())).or_insert((0, now));
        (*times, *last) = (times.saturating_add(1), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_run_is_recreated_immediately_and_then_with_back_off() {
        let backoff = RecreateBackoff::default();
        let start = Instant::now();
        assert_eq!(backoff.delay_at("u", "r", start), None);
        backoff.record_create_at("u", "r", start);
        assert_eq!(backoff.delay_at("u", "r", start), None, "deleting it is the way to retry");
        backoff.record_create_at("u", "r", start);
        assert_eq!(backoff.delay_at("u", "r", start), Some(FIRST));
        assert_eq!(backoff.delay_at("u", "other", start), None);
        assert_eq!(backoff.delay_at("u", "r", start + FIRST), None);
        backoff.record_create_at("u", "r", start + FIRST);
        assert_eq!(backoff.delay_at("u", "r", start + FIRST), Some(FIRST * 2));
        backoff.record_create_at("u", "x", start + FORGET * 2);
        assert_eq!(backoff.delay_at("u", "r", start + FORGET * 2), None);
    }
}
