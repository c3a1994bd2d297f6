//! How often an object that is created once may be made again by the same name: a pruner that deletes failed
//! runs must not make us build for ever.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The first time is free, and so is the first retry; from then on the pause doubles.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(5);
/// What was not made for so long is forgotten.
const FORGET: Duration = Duration::from_hours(1);

/// When what was made, and how often.
#[derive(Debug, Default)]
pub struct RecreateBackoff(Mutex<HashMap<(String, String), (u32, Instant)>>);

impl RecreateBackoff {
    /// How long to wait before an object of this owner may be made; `None`: not at all.
    pub fn delay(&self, owner: &str, name: &str) -> Option<Duration> {
        self.delay_at(owner, name, Instant::now())
    }

    /// Takes note that it was made.
    pub fn record_create(&self, owner: &str, name: &str) {
        self.record_create_at(owner, name, Instant::now());
    }

    fn delay_at(&self, owner: &str, name: &str, now: Instant) -> Option<Duration> {
        let made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (times, last) = made.get(&(owner.to_owned(), name.to_owned()))?;
        let pause = match *times {
            0 | 1 => Duration::ZERO,
            more => {
                FIRST.saturating_mul(1_u32.checked_shl((more - 2).min(16)).unwrap_or(u32::MAX)).min(LONGEST)
            }
        };
        Some((*last + pause).saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    fn record_create_at(&self, owner: &str, name: &str, now: Instant) {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        made.retain(|_, (_, last)| now.duration_since(*last) < FORGET);
        let (times, last) = made.entry((owner.to_owned(), name.to_owned())).or_insert((0, now));
        (*times, *last) = (times.saturating_add(1), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_run_is_made_again_at_once_and_then_ever_more_seldom() {
        let pace = RecreateBackoff::default();
        let start = Instant::now();
        assert_eq!(pace.delay_at("u", "r", start), None);
        pace.record_create_at("u", "r", start);
        assert_eq!(pace.delay_at("u", "r", start), None, "deleting it is the way to retry");
        pace.record_create_at("u", "r", start);
        assert_eq!(pace.delay_at("u", "r", start), Some(FIRST));
        assert_eq!(pace.delay_at("u", "other", start), None);
        assert_eq!(pace.delay_at("u", "r", start + FIRST), None);
        pace.record_create_at("u", "r", start + FIRST);
        assert_eq!(pace.delay_at("u", "r", start + FIRST), Some(FIRST * 2));
        pace.record_create_at("u", "x", start + FORGET * 2);
        assert_eq!(pace.delay_at("u", "r", start + FORGET * 2), None);
    }
}
