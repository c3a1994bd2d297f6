//! States that nothing has any more, which are shown as zero for a while: pushed, the last value of a series
//! that just ends would stay.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::telemetry::catalog::attributes::Kind;

/// Longer than backends keep the last value of a series that ended (5 min), and than most pushes are apart.
const SHOWN: Duration = Duration::from_mins(10);

/// Kind, ready, reason: closed sets, so there is an end to them.
pub(in crate::telemetry) type State = (Kind, &'static str, &'static str);

/// When each state was last seen.
#[derive(Debug, Default)]
pub(in crate::telemetry) struct Faded(Mutex<HashMap<State, Instant>>);

impl Faded {
    /// Takes note of the states that are there; those that were there a while ago and are not now.
    pub(in crate::telemetry) fn besides(
        &self,
        there: impl Iterator<Item = State>,
        now: Instant,
    ) -> Vec<State> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, at| now.saturating_duration_since(*at) < SHOWN);
        let mut gone: Vec<State> = seen.keys().copied().collect();
        for state in there {
            seen.insert(state, now);
            gone.retain(|other| *other != state);
        }
        gone
    }

    /// They are another's to show.
    pub(in crate::telemetry) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_zero_for_a_while_and_then_gone() {
        let (faded, start) = (Faded::default(), Instant::now());
        let (ready, failed) =
            ((Kind::ElpioService, "true", "Reconciled"), (Kind::ElpioService, "false", "EngineNotReady"));
        assert!(faded.besides([ready, failed].into_iter(), start).is_empty());
        assert_eq!(faded.besides([ready].into_iter(), start + SHOWN / 2), [failed]);
        assert_eq!(faded.besides([failed].into_iter(), start + SHOWN / 2), [ready], "it is back");
        assert!(faded.besides([failed].into_iter(), start + SHOWN * 2).is_empty());
        faded.clear();
        assert!(faded.besides([].into_iter(), start + SHOWN * 2).is_empty());
    }
}
