//! Values in Grafana's units, and times, as text. Pure. (Grafana's formats exist in JavaScript only;
//! `humansize` and
//! `humantime` know one unit each.)

use jiff::{Timestamp, tz::TimeZone};

/// A value in one of Grafana's units, with about three digits.
#[must_use]
pub fn format_value(value: f64, unit: &str) -> String {
    if !value.is_finite() {
        return "no data".to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    match unit {
        "s" => scaled(
            value,
            &[
                (1e-9, "ns"),
                (1e-6, "µs"),
                (1e-3, "ms"),
                (1.0, "s"),
                (60.0, "min"),
                (3600.0, "h"),
                (86_400.0, "d"),
            ],
        ),
        "bytes" | "decbytes" => {
            scaled(value, &[(1.0, "B"), (1024.0, "KiB"), (1_048_576.0, "MiB"), (1_073_741_824.0, "GiB")])
        }
        "percentunit" => format!("{} %", digits(value * 100.0)),
        "percent" => format!("{} %", digits(value)),
        "reqps" => format!("{} req/s", digits(value)),
        "ops" | "cps" => format!("{}/s", digits(value)),
        "cpm" | "opm" | "reqpm" => format!("{}/min", digits(value)),
        _ => scaled(value, &[(1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G")]),
    }
}

/// The factor by which an axis is scaled so that its decimal ticks are round numbers in this unit.
pub(super) fn axis_factor(max: f64, unit: &str) -> f64 {
    match unit {
        "s" if max >= 7200.0 => 3600.0,
        "s" if max >= 120.0 => 60.0,
        "bytes" | "decbytes" if max >= 1.0 => 1024_f64.powf((max.ln() / 1024_f64.ln()).floor()),
        _ => 1.0,
    }
}

/// The UTC time of Unix seconds.
pub(super) fn format_time(seconds: f64) -> String {
    #[allow(clippy::cast_possible_truncation, reason = "whole seconds")]
    let time = Timestamp::from_second(seconds as i64).unwrap_or_default();
    time.to_zoned(TimeZone::UTC).strftime("%H:%M:%S").to_string()
}

/// Unix seconds.
#[allow(clippy::cast_precision_loss, reason = "exact until the year 2255")]
pub(super) fn unix_seconds(time: Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1000.0
}

/// Text that XML can represent, cut to about this width in pixels by leaving out its middle.
pub(super) fn fit(text: &str, width: f64, size: i32) -> String {
    let visible: Vec<char> = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    let letter = f64::from(size) * 0.55;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few hundred pixels")]
    let room = (width / letter).max(1.0) as usize;
    if visible.len() <= room {
        return visible.into_iter().collect();
    }
    let (start, end) = (room / 2, room.saturating_sub(1) - room / 2);
    visible[..start].iter().chain(&['…']).chain(&visible[visible.len() - end..]).collect()
}

fn scaled(value: f64, scales: &[(f64, &str)]) -> String {
    let fitting = scales.iter().rev().find(|(factor, _)| value.abs() >= factor * (1.0 - 1e-9));
    let (factor, name) = fitting.or(scales.first()).copied().unwrap_or((1.0, ""));
    format!("{} {name}", digits(value / factor)).trim_end().to_owned()
}

fn digits(value: f64) -> String {
    let places = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.1 => 2,
        size if size >= 0.01 => 3,
        _ => 4,
    };
    let text = format!("{value:.places$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_unit() {
        for (value, unit, text) in [
            (0.0, "s", "0"),
            (0.000_012, "s", "12 µs"),
            (0.0475, "s", "47.5 ms"),
            (1.6604, "s", "1.66 s"),
            (90.0, "s", "1.5 min"),
            (7200.0, "s", "2 h"),
            (41_447_424.0, "bytes", "39.5 MiB"),
            (0.1333, "percentunit", "13.3 %"),
            (5.455, "reqps", "5.46 req/s"),
            (0.0569, "ops", "0.057/s"),
            (8.0, "short", "8"),
            (12_345.0, "short", "12.3 k"),
            (f64::NAN, "s", "no data"),
        ] {
            assert_eq!(format_value(value, unit), text, "{value} {unit}");
        }
    }

    #[test]
    fn ticks_are_round_in_the_unit_of_the_axis() {
        for (max, unit, factor) in
            [(100.0, "s", 1.0), (300.0, "s", 60.0), (3e6, "bytes", 1_048_576.0), (8.0, "short", 1.0)]
        {
            assert!((axis_factor(max, unit) - factor).abs() < 1e-6 * factor, "{max} {unit}");
        }
        assert_eq!(format_time(1_700_000_003.0), "22:13:23");
    }

    #[test]
    fn text_that_is_too_long_keeps_its_ends_and_control_characters_are_left_out() {
        assert_eq!(fit("short", 100.0, 10), "short");
        assert_eq!(fit("a\u{1b}[1m\nb", 100.0, 10), "a [1m b");
        let fitted = fit("PATCH /apis/elpio.io/v1alpha1/services/{name}/status", 120.0, 10);
        assert!(fitted.starts_with("PATCH") && fitted.ends_with("status"), "{fitted}");
    }
}
