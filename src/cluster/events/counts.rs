//! How often a series of Events occurred, and what the API server has of it. Data alone.

use std::time::Instant;

use jiff::Timestamp;

/// What is kept of a series that has nothing to write.
#[derive(Clone, Copy, Debug)]
pub struct SeriesCounts {
    pub(super) names_taken: u32,
    pub(super) count: i32,
    /// What the API server has of them; 0: it does not have the Event.
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
