//! Go durations, as External Secrets and Tekton parse them. Pure.
//!
//! `go-parse-duration` was last released in 2021 and returns signed nanoseconds; `humantime` and
//! `duration-str` parse other formats.

use std::time::Duration;

/// The longest text accepted, as in the schema.
const MAX_LENGTH: usize = 32;

/// Parses an unsigned Go duration, such as `1h30m`, `1.5h` or `0`; `None` if it is invalid or exceeds Go's
/// range.
///
/// Source: `time.ParseDuration` of Go.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    if text.is_empty() || text.len() > MAX_LENGTH {
        return None;
    }
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = 0_u128;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let (nanos, tail) =
            UNITS.iter().find_map(|(unit, nanos)| Some((*nanos, tail.strip_prefix(unit)?)))?;
        total = total.checked_add(times(number, nanos)?)?;
        rest = tail;
    }
    // Go stores nanoseconds in 63 bits: 292 years.
    i64::try_from(total).ok().map(|nanos| Duration::from_nanos(nanos.unsigned_abs()))
}

/// Longer units first, so that `ms` is not parsed as `m`.
const UNITS: [(&str, u128); 6] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// A decimal number times a unit, truncated to whole nanoseconds.
fn times(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let power = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = fraction.parse::<u128>().ok()?.checked_mul(unit)?.checked_div(power)?;
    whole.parse::<u128>().ok()?.checked_mul(unit)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        let cases = [
            ("0", 0),
            ("0s", 0),
            ("1h", 3_600_000),
            ("1h0m0s", 3_600_000),
            ("30m", 1_800_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            ("100ms", 100),
            ("1000us", 1),
            ("1000000ns", 1),
            ("1.25s", 1_250),
        ];
        for (text, millis) in cases {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "1",
            "h",
            "1d",
            "1h ",
            ".5h",
            "5.h",
            "1.2.3s",
            "-1h",
            "+1h",
            "1h30",
            "1H",
            "9999999999h",
            "0000000000000000000000000000000001h",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
