//! Formats times. Pure.

use jiff::Timestamp;

/// The seconds between two times; negative if the second one is earlier.
pub fn seconds_between(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

/// `12 ms`, `3.4 s`, `2m 5s`.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 0.9995 => format!("{:.0} ms", s.max(0.0) * 1000.0),
        s if s < 120.0 => format!("{s:.1} s"),
        // Whole minutes and seconds: hours are rare enough to show as minutes.
        s => format!("{:.0}m {:.0}s", (s.round() / 60.0).floor(), s.round() % 60.0),
    }
}

/// `5s`, `3m`, `2h`, `4d`: kubectl's format.
pub fn age(seconds: f64) -> String {
    let (minute, hour, day) = (60.0, 3600.0, 86_400.0);
    match seconds.max(0.0) {
        s if s < 2.0 * minute => format!("{s:.0}s"),
        s if s < 2.0 * hour => format!("{:.0}m", (s / minute).floor()),
        s if s < 2.0 * day => format!("{:.0}h", (s / hour).floor()),
        s => format!("{:.0}d", (s / day).floor()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_ages() {
        let all = [0.0004, 0.25, 1.0, 59.94, 125.2, 599.6].map(duration);
        assert_eq!(all, ["0 ms", "250 ms", "1.0 s", "59.9 s", "2m 5s", "10m 0s"]);
        assert_eq!([1.4, 125.0, 7300.0, 200_000.0].map(age), ["1s", "2m", "2h", "2d"]);
    }
}
