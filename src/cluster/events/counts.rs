//! How often a series of Events occurred, and how much of that the API server has. Plain data.

use std::time::Instant;

use jiff::Timestamp;

/// What remains of a series that has nothing to write.
#[derive(Clone, Copy, Debug)]
pub struct SeriesCounts {
    pub(super) names_taken: u32,
    pub(super) count: i32,
    /// The count that the API server has; 0 if it does not have the Event.
    pub(super) recorded: i32,
    pub(super) recorded_at: Instant,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

impl SeriesCounts {
    /// No occurrence yet.
    #[must_use]
    pub fn new(at: Timestamp, now: Instant) -> Self {
        Self { names_taken: 0, count: 0, recorded: 0, recorded_at: now, first: at, last: at }
    }
}
