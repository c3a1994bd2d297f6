//! Whether the API server is reachable and accepts the credentials, so that the log has one line when that
//! ends and one when it recovers. Pure; takes the time as an argument.

use std::time::{Duration, Instant};

/// One broken connection is not an outage, and one answer does not end one.
const OUTAGE_THRESHOLD: Duration = Duration::from_secs(1);

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// An answer other than 401.
    Answered,
    /// 401.
    Unauthorized,
    /// No answer.
    Unreachable,
}

/// A change that is worth a log line.
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

/// The state that the requests so far show.
#[derive(Debug, Default)]
pub struct ApiServerHealth {
    unreachable_since: Option<Instant>,
    reported_unreachable: bool,
    /// The times of the first and the last 401.
    unauthorized: Option<(Instant, Instant)>,
}

impl ApiServerHealth {
    /// Records the outcome of a request.
    pub fn record(&mut self, outcome: RequestOutcome, now: Instant) -> Option<HealthChange> {
        if outcome == RequestOutcome::Unreachable {
            let since = *self.unreachable_since.get_or_insert(now);
            let report = !self.reported_unreachable && now.duration_since(since) >= OUTAGE_THRESHOLD;
            self.reported_unreachable |= report;
            return report.then_some(HealthChange::Unreachable);
        }
        let unreachable_since = self.unreachable_since.take();
        if std::mem::take(&mut self.reported_unreachable) {
            // If a 401 ends an outage, the next 401 is reported.
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

    /// The changes reported, with the second of each, for outcomes at these milliseconds.
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
        // The answer to a request sent earlier.
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
