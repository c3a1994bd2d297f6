//! How long a span takes, measured beside the span's own clock; it records nothing.

use std::time::{Duration, Instant};

use tracing::Span;

/// How far the two measurements may be apart for one to stand for the other.
const DOUBT: Duration = Duration::from_millis(2);

/// Runs with a span from its opening.
#[derive(Clone, Copy, Debug)]
pub(in crate::telemetry) struct Timing {
    began: Instant,
    /// The span began within this time.
    doubt: Duration,
}

impl Timing {
    /// Opens a span, and begins.
    pub(in crate::telemetry) fn of<T>(open: impl FnOnce() -> T) -> (T, Self) {
        let began = Instant::now();
        let opened = open();
        (opened, Self { began, doubt: began.elapsed() })
    }

    /// How long it has taken until now.
    pub(in crate::telemetry) fn so_far(self) -> Duration {
        self.began.elapsed()
    }

    /// Ends the span, and says how long it took; and whether its own clock says the same, which a machine
    /// that does something else between two readings of the time makes uncertain.
    pub(in crate::telemetry) fn end(self, span: &Span) -> (Duration, bool) {
        let before = self.began.elapsed();
        // A span ends where it was last left (tracing-opentelemetry 0.34).
        span.in_scope(|| ());
        let took = self.began.elapsed();
        (took, self.doubt + took.saturating_sub(before) < DOUBT)
    }
}
