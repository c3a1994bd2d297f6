//! Axes and numbers: where ticks stand, and how values are written. Pure.

use jiff::{Timestamp, tz::TimeZone};

/// Steps that people count time in.
const TIMES: [f64; 17] = [
    1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14_400.0,
    28_800.0, 86_400.0,
];

/// From zero to `max`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    pub max: f64,
    pub ticks: Vec<f64>,
}

/// An axis that ends at a tick, with about so many.
pub(super) fn axis(max: f64, unit: &str, wanted: f64) -> Axis {
    let max = if max.is_finite() && max > 0.0 { max } else { 1.0 };
    let step = step(max / wanted, unit);
    Axis { max: (max / step - 1e-9).ceil() * step, ticks: ticks(max + step * (1.0 - 1e-9), step) }
}

/// An axis that ends where the data do.
pub(super) fn tight(max: f64, unit: &str, wanted: f64) -> Axis {
    let max = if max.is_finite() && max > 0.0 { max } else { 1e-3 };
    Axis { max, ticks: ticks(max, step(max / wanted, unit)) }
}

fn ticks(max: f64, step: f64) -> Vec<f64> {
    let mut all = Vec::new();
    let mut tick = 0.0;
    while tick <= max && all.len() < 100 {
        all.push(tick);
        #[allow(clippy::cast_precision_loss, reason = "100 at most")]
        let next = all.len() as f64 * step;
        tick = next;
    }
    all
}

/// The smallest step that people count in and that is not below `least`.
fn step(least: f64, unit: &str) -> f64 {
    match unit {
        "s" if least > 5.0 => of_time(least),
        "bytes" if least >= 1024.0 => {
            let base = 1024_f64.powf((least.ln() / 1024_f64.ln()).floor());
            Some(decimal(least / base)).filter(|step| *step <= 500.0).unwrap_or(1024.0) * base
        }
        "short" if least < 1.0 => 1.0,
        _ => decimal(least),
    }
}

fn of_time(least: f64) -> f64 {
    TIMES.into_iter().find(|step| *step >= least).unwrap_or((least / 86_400.0).ceil() * 86_400.0)
}

fn decimal(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= least * (1.0 - 1e-9))
        .unwrap_or(power * 10.0)
}

/// (Unix seconds, what the clock says) within a window, in UTC.
pub(super) fn clock((from, to): (f64, f64), wanted: f64) -> Vec<(f64, String)> {
    let step = of_time(((to - from) / wanted).max(1.0));
    let mut all = Vec::new();
    let mut at = (from / step).ceil() * step;
    while at <= to {
        let pattern = if step < 60.0 { "%H:%M:%S" } else { "%H:%M" };
        #[allow(clippy::cast_possible_truncation, reason = "whole seconds")]
        let time = Timestamp::from_second(at as i64).unwrap_or_default();
        all.push((at, time.to_zoned(TimeZone::UTC).strftime(pattern).to_string()));
        at += step;
    }
    all
}

/// Unix seconds.
#[allow(clippy::cast_precision_loss, reason = "exact until the year 2255")]
pub(super) fn seconds(time: Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1000.0
}

/// A value of one of Grafana's units, in three digits or so.
pub(super) fn show(value: f64, unit: &str) -> String {
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
        "bytes" => {
            scaled(value, &[(1.0, "B"), (1024.0, "KiB"), (1_048_576.0, "MiB"), (1_073_741_824.0, "GiB")])
        }
        "percentunit" => format!("{} %", digits(value * 100.0)),
        "reqps" => format!("{} req/s", digits(value)),
        "ops" | "cps" => format!("{}/s", digits(value)),
        _ => scaled(value, &[(1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G")]),
    }
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
    fn values_as_people_write_them() {
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
            assert_eq!(show(value, unit), text, "{value} {unit}");
        }
    }

    #[test]
    fn axes_are_monotone_and_hold_their_data() {
        for unit in ["s", "bytes", "short", "percentunit", "ops"] {
            for exponent in -8..11 {
                let max = 3.7 * 10_f64.powi(exponent);
                let axis = axis(max, unit, 4.0);
                assert!(axis.max >= max * (1.0 - 1e-9), "{unit} {max}: {axis:?}");
                assert!(axis.ticks.windows(2).all(|pair| pair[0] < pair[1]), "{unit} {max}: {axis:?}");
                assert!((2..=6).contains(&axis.ticks.len()), "{unit} {max}: {axis:?}");
                assert!(
                    (axis.ticks.last().unwrap_or(&0.0) - axis.max).abs() < axis.max * 1e-6,
                    "{unit} {max}: {axis:?}"
                );
                let tight = tight(max, unit, 6.0);
                assert!(
                    tight.ticks.iter().all(|tick| *tick <= max) && (tight.max - max).abs() < max * 1e-9,
                    "{tight:?}"
                );
            }
        }
        for empty in [0.0, f64::NAN, -1.0, f64::INFINITY] {
            assert_eq!(axis(empty, "short", 4.0), Axis { max: 1.0, ticks: vec![0.0, 1.0] });
        }
    }

    #[test]
    fn the_clock_is_in_its_window() {
        let ticks = clock((1_700_000_003.0, 1_700_000_063.0), 4.0);
        let texts: Vec<&str> = ticks.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["22:13:30", "22:13:45", "22:14:00", "22:14:15"]);
        assert_eq!(clock((0.0, 7200.0), 4.0).len(), 5);
    }
}
