//! Whether the API server can be reached and accepts the credentials, so that the log has one line when that
//! ends and one when it is back. Pure; the clock is handed in.

use std::time::{Duration, Instant};

/// A single connection that breaks is no outage, and a single answer is no end of one.
const OUTAGE_THRESHOLD: Duration = Duration::from_secs(1);

/// What became of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// An answer other than 401.
    Answered,
    /// 401.
    Unauthorized,
    /// None.
    Unreachable,
}

/// A change that is worth a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthChange {
    /// No request has been answered for [`OUTAGE_THRESHOLD`].
    Unreachable,
    /// Requests are answered again, after this time.
    Reachable(Duration),
    /// The first 401.
    Unauthorized,
    /// The credentials are accepted again, after this time.
    Authorized(Duration),
}

/// What the answers so far say.
#[derive(Debug, Default)]
pub struct ApiServerHealth {
    unreachable_since: Option<Instant>,
    reported_unreachable: bool,
    /// The first 401 and the last.
    unauthorized: Option<(Instant, Instant)>,
}

impl ApiServerHealth {
    /// Records what became of a request.
    pub fn record(&mut self, outcome: RequestOutcome, now: Instant) -> Option<HealthChange> {
        if outcome == RequestOutcome::Unreachable {
            let since = *self.unreachable_since.get_or_insert(now);
            let report = !self.reported_unreachable && now.duration_since(since) >= OUTAGE_THRESHOLD;
            self.reported_unreachable |= report;
            return report.then_some(HealthChange::Unreachable);
        }
        let unreachable_since = self.unreachable_since.take();
        if std::mem::take(&mut self.reported_unreachable) {
            // A 401 that ends an outage is reported by the next one.
            return unreachable_since.map(|since| HealthChange::Reachable(now.duration_since(since)));
        }
        match (outcome, self.unauthorized) {
            (RequestOutcome::Unauthorized, Some((first, _))) => {
                self.unauthorized = Some((first, now));
                None
            }
            (RequestOutcome::Unauthorized, None) => {
                self.unauthorized = Some((now, now));
                Some(HealthChange::Unauthorized)
            }
            (_, Some((first, last))) if now.duration_since(last) >= OUTAGE_THRESHOLD => {
                self.unauthorized = None;
                Some(HealthChange::Authorized(now.duration_since(first)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is reported at which second, of outcomes at these milliseconds.
    fn changes(outcomes: &[(u64, RequestOutcome)]) -> Vec<(u64, HealthChange)> {
        let (mut health, start) = (ApiServerHealth::default(), Instant::now());
        let mut record = |(at, outcome): &(u64, RequestOutcome)| {
            Some((*at, health.record(*outcome, start + Duration::from_millis(*at))?))
        };
        outcomes.iter().filter_map(&mut record).collect()
    }

    #[test]
    fn one_broken_connection_is_no_outage() {
        let broken = [
            (0, RequestOutcome::Unreachable),
            (10, RequestOutcome::Answered),
            (5000, RequestOutcome::Unreachable),
        ];
        assert_eq!(changes(&broken), []);
    }

    #[test]
    fn an_outage_is_two_lines_whatever_the_number_of_calls() {
        let mut outcomes: Vec<_> = (0..100).map(|n| (n * 100, RequestOutcome::Unreachable)).collect();
        outcomes.extend([(10_000, RequestOutcome::Answered), (10_010, RequestOutcome::Answered)]);
        let expected =
            [(1000, HealthChange::Unreachable), (10_000, HealthChange::Reachable(Duration::from_secs(10)))];
        assert_eq!(changes(&outcomes), expected);
    }

    #[test]
    fn refused_credentials_are_two_lines_too() {
        let mut outcomes: Vec<_> = (0..100).map(|n| (n * 10, RequestOutcome::Unauthorized)).collect();
        // An answer to a request that was sent before.
        outcomes.extend([
            (995, RequestOutcome::Answered),
            (2000, RequestOutcome::Answered),
            (2010, RequestOutcome::Answered),
        ]);
        let expected =
            [(0, HealthChange::Unauthorized), (2000, HealthChange::Authorized(Duration::from_secs(2)))];
        assert_eq!(changes(&outcomes), expected);
    }
}
