//! The clock of what is written to the API server. It decides nothing.

use jiff::Timestamp;

/// Now, to the microsecond: what a status, an Event and a Lease can hold.
#[must_use]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}
