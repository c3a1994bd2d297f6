//! Range queries to Prometheus, as panels send them. It does not interpret series.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    Prometheus,
    telemetry::prometheus::{labels, percent_encode},
};

/// The number of points across a panel.
const POINTS: u32 = 120;

/// The parameters of a range query.
#[derive(Clone, Copy, Debug)]
pub struct TimeRange {
    /// The first point.
    pub start: Timestamp,
    /// The latest time of the last point.
    pub end: Timestamp,
    /// The distance between two points.
    pub step: Duration,
}

impl TimeRange {
    /// The time up to now, with a step of whole seconds that suits a small panel.
    #[must_use]
    pub fn last(span: Duration) -> Self {
        let end = Timestamp::now();
        Self { start: end - span, end, step: Duration::from_secs((span / POINTS).as_secs().max(1)) }
    }

    /// Grafana's `$__rate_interval` for this scrape interval: at least four scrapes, so that a rate has two
    /// samples.
    #[must_use]
    pub fn rate_interval(&self, scrape_interval: Duration) -> String {
        format!("{}s", (self.step + scrape_interval).max(scrape_interval * 4).as_secs().max(1))
    }
}

/// A series over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RangeSeries {
    /// Its labels, without the name.
    pub labels: BTreeMap<String, String>,
    /// (Unix seconds, value), by time. Values may be NaN.
    pub points: Vec<(f64, f64)>,
}

impl RangeSeries {
    /// The last finite value.
    #[must_use]
    pub fn last_value(&self) -> Option<f64> {
        self.points.iter().rev().map(|(_, value)| *value).find(|value| value.is_finite())
    }
}

impl Prometheus {
    /// Runs a range query.
    ///
    /// # Errors
    /// If Prometheus rejects the query.
    pub async fn query_range(&self, query: &str, range: TimeRange) -> Result<Vec<RangeSeries>, String> {
        let (start, end) = (range.start.as_millisecond(), range.end.as_millisecond());
        let (start, end, step) = (to_seconds(start), to_seconds(end), range.step.as_secs_f64());
        let path = format!(
            "/api/v1/query_range?query={}&start={start}&end={end}&step={step}",
            percent_encode(query)
        );
        let data = self.api(&path).await?;
        let point = |pair: &Value| Some((pair[0].as_f64()?, pair[1].as_str()?.parse().ok()?));
        let series = |item: &Value| RangeSeries {
            labels: labels(&item["metric"]),
            points: item["values"].as_array().into_iter().flatten().filter_map(point).collect(),
        };
        Ok(data["result"].as_array().into_iter().flatten().map(series).collect())
    }
}

/// Unix milliseconds in Prometheus's notation.
fn to_seconds(milliseconds: i64) -> String {
    format!("{}.{:03}", milliseconds.div_euclid(1000), milliseconds.rem_euclid(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_interval_has_at_least_two_samples() {
        let range =
            |step| TimeRange { step: Duration::from_secs(step), ..TimeRange::last(Duration::from_mins(1)) };
        for (step, scrape, interval) in [(1, 1, "4s"), (30, 1, "31s"), (15, 15, "60s")] {
            assert_eq!(range(step).rate_interval(Duration::from_secs(scrape)), interval);
        }
        assert_eq!(TimeRange::last(Duration::from_secs(10)).step, Duration::from_secs(1));
        assert_eq!(TimeRange::last(Duration::from_hours(2)).step, Duration::from_mins(1));
    }

    #[test]
    fn the_last_value_is_finite() {
        let series =
            RangeSeries { points: vec![(1.0, 3.0), (2.0, 4.0), (3.0, f64::NAN)], ..RangeSeries::default() };
        assert_eq!((series.last_value(), RangeSeries::default().last_value()), (Some(4.0), None));
        assert_eq!(to_seconds(1_700_000_000_007), "1700000000.007");
    }
}
