//! How durations are written in progress messages, trees and tables. Pure. (`humantime` was considered: it
//! writes
//! `2s 400ms`, and never rounds.)

use std::time::Duration;

/// About three digits: `12 µs`, `8.3 ms`, `847 ms`, `2.40 s`.
#[must_use]
pub fn duration(time: Duration) -> String {
    match time {
        time if time < Duration::from_millis(1) => format!("{} µs", time.as_micros()),
        time if time < Duration::from_millis(100) => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        time if time < Duration::from_secs(1) => format!("{} ms", time.as_millis()),
        time => format!("{:.2} s", time.as_secs_f64()),
    }
}
