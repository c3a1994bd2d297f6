//! Range queries to Prometheus: what a panel asks for. Interprets no series.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    Prometheus,
    prometheus::{escape, labels},
};

/// Points across a panel.
const POINTS: u32 = 120;

/// From when to when, and how far apart the points are.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// The first point.
    pub start: Timestamp,
    /// The last point is not after this.
    pub end: Timestamp,
    /// Between two points.
    pub step: Duration,
}

impl Window {
    /// Up to now, with a step as wide as a small panel needs, of whole seconds.
    #[must_use]
    pub fn last(span: Duration) -> Self {
        let end = Timestamp::now();
        Self { start: end - span, end, step: Duration::from_secs((span / POINTS).as_secs().max(1)) }
    }

    /// Grafana's `$__rate_interval` for a scrape every so often: as long as four scrapes at least, so that a
    /// rate has two samples.
    #[must_use]
    pub fn rate_interval(&self, scrape: Duration) -> String {
        format!("{}s", (self.step + scrape).max(scrape * 4).as_secs().max(1))
    }
}

/// A series over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// Its labels, without the name.
    pub labels: BTreeMap<String, String>,
    /// (Unix seconds, value), by time; what has no value has no point. Values may be NaN.
    pub points: Vec<(f64, f64)>,
}

impl Line {
    /// The last value that is a number.
    #[must_use]
    pub fn last(&self) -> Option<f64> {
        self.points.iter().rev().map(|(_, value)| *value).find(|value| value.is_finite())
    }
}

impl Prometheus {
    /// The series that answer a range query.
    ///
    /// # Errors
    /// What Prometheus says of the query.
    pub async fn query_range(&self, query: &str, window: Window) -> Result<Vec<Line>, String> {
        let (start, end) = (window.start.as_millisecond(), window.end.as_millisecond());
        let (start, end, step) = (seconds(start), seconds(end), window.step.as_secs_f64());
        let path = format!("/api/v1/query_range?query={}&start={start}&end={end}&step={step}", escape(query));
        let data = self.api(&path).await?;
        let point = |pair: &Value| Some((pair[0].as_f64()?, pair[1].as_str()?.parse().ok()?));
        let line = |item: &Value| Line {
            labels: labels(&item["metric"]),
            points: item["values"].as_array().into_iter().flatten().filter_map(point).collect(),
        };
        Ok(data["result"].as_array().into_iter().flatten().map(line).collect())
    }
}

/// Unix milliseconds as Prometheus reads a time.
fn seconds(milliseconds: i64) -> String {
    format!("{}.{:03}", milliseconds.div_euclid(1000), milliseconds.rem_euclid(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_two_samples_and_no_gaps() {
        let window =
            |step| Window { step: Duration::from_secs(step), ..Window::last(Duration::from_mins(1)) };
        for (step, scrape, interval) in [(1, 1, "4s"), (30, 1, "31s"), (15, 15, "60s")] {
            assert_eq!(window(step).rate_interval(Duration::from_secs(scrape)), interval);
        }
        assert_eq!(Window::last(Duration::from_secs(10)).step, Duration::from_secs(1));
        assert_eq!(Window::last(Duration::from_hours(2)).step, Duration::from_mins(1));
    }

    #[test]
    fn the_last_number_of_a_line() {
        let line = Line { points: vec![(1.0, 3.0), (2.0, 4.0), (3.0, f64::NAN)], ..Line::default() };
        assert_eq!((line.last(), Line::default().last()), (Some(4.0), None));
        assert_eq!(seconds(1_700_000_000_007), "1700000000.007");
    }
}
