//! Creates instruments from rows of the table, and only from them; it computes no values.

use std::sync::{Arc, OnceLock};

use foldhash::{HashMap, HashMapExt as _};
use opentelemetry::{
    KeyValue,
    metrics::{AsyncInstrument, BoundCounter, BoundHistogram, BoundUpDownCounter, Histogram, Meter},
};

use parking_lot::RwLock;

use crate::telemetry::{
    catalog::{
        attributes::LabelValue,
        definition::{InstrumentDef, InstrumentKind},
    },
    prometheus::exemplars::{ExemplarReservoir, SeriesExemplars},
    trace::span_ids::SpanIds,
};

/// The series of a row's closed sets, each bound once: otherwise the SDK would hash the attributes of every
/// measurement. Empty for a row with open sets.
struct Series<B> {
    row: &'static InstrumentDef,
    bound: HashMap<Vec<&'static str>, B>,
}

impl<B> Series<B> {
    fn new(row: &'static InstrumentDef, bind: impl Fn(&[KeyValue]) -> B) -> Self {
        let mut bound = HashMap::new();
        for values in row.combinations() {
            let series = bind(&owned_attributes(row, &values));
            bound.insert(values, series);
        }
        Self { row, bound }
    }

    /// The series with these values, in the order of the row.
    fn of<const N: usize>(&self, values: [LabelValue; N]) -> Option<&B> {
        let words = values.map(LabelValue::as_str);
        let series = self.bound.get(words.as_slice());
        debug_assert!(series.is_some(), "{}: {words:?} is not in the table", self.row.name);
        series
    }
}

/// Declares a counter type, up-down or not.
macro_rules! typed_counter {
    ($(#[$doc:meta])* $name:ident, $kind:ident, $make:ident, $bound:ident<$number:ty>) => {
        $(#[$doc])*
        pub(in crate::telemetry) struct $name(Series<$bound<$number>>);

        impl $name {
            /// Creates the counter, and starts every series of its closed sets at 0.
            pub(in crate::telemetry) fn new(meter: &Meter, row: &'static InstrumentDef) -> Self {
                debug_assert_eq!(row.kind, InstrumentKind::$kind);
                let inner = meter.$make(row.name).with_unit(row.unit).with_description(row.description).build();
                Self(Series::new(row, |attributes| {
                    let series = inner.bind(attributes);
                    series.add(0);
                    series
                }))
            }

            pub(in crate::telemetry) fn add<const N: usize>(&self, n: $number, values: [LabelValue; N]) {
                if let Some(series) = self.0.of(values) {
                    series.add(n);
                }
            }
        }
    };
}

typed_counter!(
    /// A counter with its row.
    TypedCounter, Counter, u64_counter, BoundCounter<u64>
);
typed_counter!(
    /// An up-down counter with its row.
    TypedUpDownCounter, UpDownCounter, i64_up_down_counter, BoundUpDownCounter<i64>
);

/// A histogram with its exemplars.
pub(in crate::telemetry) struct TypedHistogram {
    row: &'static InstrumentDef,
    inner: Histogram<f64>,
    /// Bound with the first value, as an empty series is not shown.
    series: Series<OnceLock<HistogramSeries>>,
    exemplars: Option<Arc<ExemplarReservoir>>,
}

/// A histogram with open sets. Its series are bound with their first value.
pub(in crate::telemetry) struct OpenHistogram {
    row: &'static InstrumentDef,
    inner: Histogram<f64>,
    /// At most as many as the row allows. The SDK never drops a bound series, not even with delta temporality.
    series: RwLock<HashMap<Box<[KeyValue]>, HistogramSeries>>,
    exemplars: Option<Arc<ExemplarReservoir>>,
}

/// One series of a histogram.
struct HistogramSeries {
    values: BoundHistogram<f64>,
    exemplars: Option<Arc<SeriesExemplars>>,
}

/// The values come from closed sets; only tests check that they are in the order of the row.
fn attributes<const N: usize>(row: &'static InstrumentDef, values: [LabelValue; N]) -> [KeyValue; N] {
    let words = values.map(LabelValue::as_str);
    debug_assert!(row.allows(&words), "{}: {words:?} is not in the table", row.name);
    std::array::from_fn(|i| KeyValue::new(row.attributes[i].key, words[i]))
}

fn owned_attributes(row: &'static InstrumentDef, values: &[&str]) -> Vec<KeyValue> {
    debug_assert!(row.allows(values), "{}: {values:?} is not in the table", row.name);
    row.attributes
        .iter()
        .zip(values)
        .map(|(attribute, value)| KeyValue::new(attribute.key, (*value).to_owned()))
        .collect()
}

impl TypedHistogram {
    /// Creates the histogram; `exemplars` keeps the last sampled span of each bucket, if the row wants
    /// exemplars.
    pub(in crate::telemetry) fn new(
        meter: &Meter,
        row: &'static InstrumentDef,
        exemplars: Option<&Arc<ExemplarReservoir>>,
    ) -> Self {
        let inner = histogram(meter, row);
        let exemplars = exemplars.filter(|_| row.exemplars).cloned();
        Self { row, inner, series: Series::new(row, |_| OnceLock::new()), exemplars }
    }

    pub(in crate::telemetry) fn record<const N: usize>(
        &self,
        value: f64,
        values: [LabelValue; N],
        ids: Option<SpanIds>,
    ) {
        let Some(series) = self.series.of(values) else { return };
        let series = series.get_or_init(|| {
            let attributes = attributes(self.row, values);
            let exemplars = self.exemplars.as_ref().map(|all| all.series(self.row, &attributes));
            HistogramSeries { values: self.inner.bind(&attributes), exemplars }
        });
        series.values.record(value);
        if let (Some(exemplars), Some(ids)) = (&series.exemplars, ids) {
            exemplars.offer(value, ids);
        }
    }
}

impl OpenHistogram {
    /// Creates the histogram; its row has exemplars.
    pub(in crate::telemetry) fn new(
        meter: &Meter,
        row: &'static InstrumentDef,
        exemplars: Option<&Arc<ExemplarReservoir>>,
    ) -> Self {
        let exemplars = exemplars.filter(|_| row.exemplars).cloned();
        Self { row, inner: histogram(meter, row), series: RwLock::default(), exemplars }
    }

    /// Records a value. Returns where to put its exemplar.
    pub(in crate::telemetry) fn record(
        &self,
        value: f64,
        attributes: &[KeyValue],
    ) -> Option<Arc<SeriesExemplars>> {
        let known = self.series.read();
        if let Some(series) = known.get(attributes) {
            series.values.record(value);
            return series.exemplars.clone();
        }
        if known.len() >= self.row.cardinality_limit {
            self.inner.record(value, attributes);
            return None;
        }
        drop(known);
        let exemplars = self.exemplars.as_ref().map(|all| all.series(self.row, attributes));
        let series = HistogramSeries { values: self.inner.bind(attributes), exemplars: exemplars.clone() };
        series.values.record(value);
        self.series.write().insert(attributes.into(), series);
        exemplars
    }
}

fn histogram(meter: &Meter, row: &'static InstrumentDef) -> Histogram<f64> {
    debug_assert_eq!(row.kind, InstrumentKind::Histogram);
    meter
        .f64_histogram(row.name)
        .with_unit(row.unit)
        .with_description(row.description)
        .with_boundaries(row.buckets.to_vec())
        .build()
}

/// Receives the values of an observable instrument's callback.
pub(in crate::telemetry) struct Observer<'a, T> {
    row: &'static InstrumentDef,
    to: &'a dyn AsyncInstrument<T>,
}

impl<T> Observer<'_, T> {
    /// Observes a value for the series with these closed values.
    pub(in crate::telemetry) fn set(&self, value: T, values: &[LabelValue]) {
        let words: Vec<&str> = values.iter().map(|value| value.as_str()).collect();
        self.set_text(value, &words);
    }

    /// Like [`Self::set`], for values that are bounded in another way, such as the build's version.
    pub(in crate::telemetry) fn set_text(&self, value: T, values: &[&str]) {
        self.to.observe(value, &owned_attributes(self.row, values));
    }
}

/// Declares constructors of observable instruments for one number type. Callbacks stay registered without a handle.
macro_rules! observe {
    ($(#[$doc:meta])* $name:ident, $number:ty, $($kind:ident => $make:ident),+) => {
        $(#[$doc])*
        pub(in crate::telemetry) fn $name(
            meter: &Meter,
            row: &'static InstrumentDef,
            read: impl Fn(&Observer<'_, $number>) + Send + Sync + 'static,
        ) {
            let call = move |to: &dyn AsyncInstrument<$number>| read(&Observer { row, to });
            match row.kind {
                $(InstrumentKind::$kind => {
                    let builder = meter.$make(row.name).with_unit(row.unit).with_description(row.description);
                    let _ = builder.with_callback(call).build();
                })+
                other => debug_assert!(false, "{}: {other:?}", row.name),
            }
        }
    };
}

observe!(
    /// Makes an observable instrument of whole numbers.
    observe_whole, u64, ObservableCounter => u64_observable_counter, ObservableGauge => u64_observable_gauge
);
observe!(
    /// Makes an observable up-down counter of whole numbers.
    observe_level, i64, ObservableUpDownCounter => i64_observable_up_down_counter
);
observe!(
    /// Makes an observable instrument of seconds.
    observe_seconds, f64, ObservableCounter => f64_observable_counter, ObservableGauge => f64_observable_gauge
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::catalog::instruments;

    /// Unbound series are not counted.
    #[test]
    fn only_http_client_request_duration_has_open_sets() {
        use InstrumentKind::{Counter, Histogram, UpDownCounter};
        let is_bound = |kind| matches!(kind, Counter | Histogram | UpDownCounter);
        let bound = instruments::INSTRUMENTS.iter().filter(|row| is_bound(row.kind));
        let open: Vec<&str> = bound.filter(|row| row.combinations().is_empty()).map(|row| row.name).collect();
        // It is an `OpenHistogram`.
        assert_eq!(open, ["http.client.request.duration"]);
    }
}
