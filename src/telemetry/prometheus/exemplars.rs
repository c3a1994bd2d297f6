//! Keeps the last sampled span of each histogram bucket, because the SDK keeps none; only the page reads it.

use std::{sync::Arc, time::SystemTime};

use foldhash::HashMap;
use opentelemetry::KeyValue;
use parking_lot::Mutex;

use crate::telemetry::{catalog::definition::InstrumentDef, trace::span_ids::SpanIds};

/// A measurement and its span.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::telemetry) struct Exemplar {
    pub(in crate::telemetry) ids: SpanIds,
    pub(in crate::telemetry) value: f64,
    pub(in crate::telemetry) at: SystemTime,
}

/// Labels as on the page, sorted by name.
pub(in crate::telemetry) type Labels = Vec<(String, String)>;

/// The exemplars of one series.
#[derive(Debug)]
pub(in crate::telemetry) struct SeriesExemplars {
    bounds: &'static [f64],
    /// One per bucket; the last one is for `+Inf`.
    by_bucket: Mutex<Vec<Option<Exemplar>>>,
}

impl SeriesExemplars {
    /// Stores the exemplar in the bucket of `value`.
    pub(in crate::telemetry) fn offer(&self, value: f64, ids: SpanIds) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(last) = self.by_bucket.lock().get_mut(bucket) {
            *last = Some(Exemplar { ids, value, at: SystemTime::now() });
        }
    }
}

/// The exemplars of all histograms.
#[derive(Debug, Default)]
pub(in crate::telemetry) struct ExemplarReservoir(Mutex<HashMap<&'static str, Family>>);

/// The series of a histogram, by their labels.
type Family = HashMap<Labels, Arc<SeriesExemplars>>;

impl ExemplarReservoir {
    /// The series with these attributes. The instrument limits their number.
    pub(in crate::telemetry) fn series(
        &self,
        row: &'static InstrumentDef,
        attributes: &[KeyValue],
    ) -> Arc<SeriesExemplars> {
        let mut all = self.0.lock();
        let family = all.entry(row.prometheus_name).or_default();
        let labels = labels(attributes.iter().map(|kv| (kv.key.as_str(), kv.value.as_str().into_owned())));
        let series = family.entry(labels).or_insert_with(|| {
            let by_bucket = Mutex::new(vec![None; row.buckets.len() + 1]);
            Arc::new(SeriesExemplars { bounds: row.buckets, by_bucket })
        });
        series.clone()
    }

    /// The exemplars of a series, one per bucket; the last one is for `+Inf`.
    pub(in crate::telemetry) fn for_series(&self, family: &str, labels: &Labels) -> Vec<Option<Exemplar>> {
        let all = self.0.lock();
        let found = all.get(family).and_then(|family| family.get(labels));
        found.map(|series| series.by_bucket.lock().clone()).unwrap_or_default()
    }
}

/// Labels in the canonical form for finding a series: underscores instead of dots, sorted.
pub(in crate::telemetry) fn labels<'a>(pairs: impl Iterator<Item = (&'a str, String)>) -> Labels {
    let mut labels: Labels = pairs.map(|(key, value)| (key.replace('.', "_"), value)).collect();
    labels.sort();
    labels
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::telemetry::catalog::instruments::RECONCILE_DURATION;

    fn ids(n: u8) -> SpanIds {
        let parent: crate::telemetry::trace::span_ids::TraceParent =
            format!("00-{n:032x}-{n:016x}-01").parse().unwrap();
        SpanIds::from(parent)
    }

    #[test]
    fn a_value_on_a_bound_belongs_to_that_bucket_and_the_last_one_wins() {
        let exemplars = ExemplarReservoir::default();
        let kind = [KeyValue::new("kind", "ElpioService")];
        let offer = |value, ids| exemplars.series(&RECONCILE_DURATION, &kind).offer(value, ids);
        offer(0.001, ids(1));
        offer(0.0011, ids(2));
        offer(0.002, ids(3));
        offer(99.0, ids(4));
        let found = exemplars
            .for_series(RECONCILE_DURATION.prometheus_name, &vec![("kind".into(), "ElpioService".into())]);
        let traces: Vec<Option<SpanIds>> = found.into_iter().map(|e| e.map(|e| e.ids)).collect();
        assert_eq!(traces[0], Some(ids(1)));
        assert_eq!(traces[1], Some(ids(3)));
        assert_eq!(traces[2], None);
        assert_eq!(traces[RECONCILE_DURATION.buckets.len()], Some(ids(4)));
    }
}
