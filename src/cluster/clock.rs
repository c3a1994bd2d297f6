//! The clock for timestamps written to the API server. It decides nothing.

use jiff::Timestamp;

/// Now, to the microsecond: the precision of a status, an Event and a Lease.
#[must_use]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}
