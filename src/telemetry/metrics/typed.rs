//! Makes instruments from rows of the table, and only from them; it decides no value.

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

/// The series of a row's closed sets, each bound once: the SDK would hash the attributes of each measurement. None for
/// a row with open sets.
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

    /// The series of these values, in the order of the row.
    fn of<const N: usize>(&self, values: [LabelValue; N]) -> Option<&B> {
        let words = values.map(LabelValue::as_str);
        let series = self.bound.get(words.as_slice());
        debug_assert!(series.is_some(), "{}: {words:?} is not in the table", self.row.name);
        series
    }
}

/// A counter with its row.
pub(in crate::telemetry) struct TypedCounter(Series<BoundCounter<u64>>);

/// An up-down counter with its row.
pub(in crate::telemetry) struct TypedUpDownCounter(Series<BoundUpDownCounter<i64>>);

/// A histogram with its row and its exemplars.
pub(in crate::telemetry) struct TypedHistogram {
    row: &'static InstrumentDef,
    inner: Histogram<f64>,
    /// Bound with the first value: none is shown before.
    series: Series<OnceLock<HistogramSeries>>,
    exemplars: Option<Arc<ExemplarReservoir>>,
}

/// A histogram of a row with open sets. Its series are bound with their first value.
pub(in crate::telemetry) struct OpenHistogram {
    row: &'static InstrumentDef,
    inner: Histogram<f64>,
    /// At most as many as the row allows. The SDK drops no bound series, also where it exports deltas.
    series: RwLock<HashMap<Box<[KeyValue]>, HistogramSeries>>,
    exemplars: Option<Arc<ExemplarReservoir>>,
}

/// One series of a histogram.
struct HistogramSeries {
    values: BoundHistogram<f64>,
    exemplars: Option<Arc<SeriesExemplars>>,
}

/// The values are words of the closed sets; that they are in the order of the row is for tests to see.
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

impl TypedCounter {
    /// Makes the counter and starts every series of its closed sets at 0.
    pub(in crate::telemetry) fn new(meter: &Meter, row: &'static InstrumentDef) -> Self {
        debug_assert_eq!(row.kind, InstrumentKind::Counter);
        let inner = meter.u64_counter(row.name).with_unit(row.unit).with_description(row.description).build();
        Self(Series::new(row, |attributes| {
            let series = inner.bind(attributes);
            series.add(0);
            series
        }))
    }

    pub(in crate::telemetry) fn add<const N: usize>(&self, n: u64, values: [LabelValue; N]) {
        if let Some(series) = self.0.of(values) {
            series.add(n);
        }
    }
}

impl TypedUpDownCounter {
    /// Makes the up-down counter and starts every series of its closed sets at 0.
    pub(in crate::telemetry) fn new(meter: &Meter, row: &'static InstrumentDef) -> Self {
        debug_assert_eq!(row.kind, InstrumentKind::UpDownCounter);
        let inner =
            meter.i64_up_down_counter(row.name).with_unit(row.unit).with_description(row.description).build();
        Self(Series::new(row, |attributes| {
            let series = inner.bind(attributes);
            series.add(0);
            series
        }))
    }

    pub(in crate::telemetry) fn add<const N: usize>(&self, n: i64, values: [LabelValue; N]) {
        if let Some(series) = self.0.of(values) {
            series.add(n);
        }
    }
}

impl TypedHistogram {
    /// Makes the histogram; `exemplars` keeps the last sampled span of each bucket, where the row asks for
    /// it.
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
    /// Makes the histogram; its row has exemplars.
    pub(in crate::telemetry) fn new(
        meter: &Meter,
        row: &'static InstrumentDef,
        exemplars: Option<&Arc<ExemplarReservoir>>,
    ) -> Self {
        let exemplars = exemplars.filter(|_| row.exemplars).cloned();
        Self { row, inner: histogram(meter, row), series: RwLock::default(), exemplars }
    }

    /// Records a value, and returns where its exemplar goes.
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

/// What a callback of an observable instrument gives values to.
pub(in crate::telemetry) struct Observer<'a, T> {
    row: &'static InstrumentDef,
    to: &'a dyn AsyncInstrument<T>,
}

impl<T> Observer<'_, T> {
    /// Gives a value to the series of these words of closed sets.
    pub(in crate::telemetry) fn set(&self, value: T, values: &[LabelValue]) {
        let words: Vec<&str> = values.iter().map(|value| value.as_str()).collect();
        self.set_text(value, &words);
    }

    /// The same for values that are bounded otherwise, as what the program was built from.
    pub(in crate::telemetry) fn set_text(&self, value: T, values: &[&str]) {
        self.to.observe(value, &owned_attributes(self.row, values));
    }
}

/// Makes an observable instrument of whole numbers. Its callback stays registered without a handle to it.
pub(in crate::telemetry) fn observe_whole(
    meter: &Meter,
    row: &'static InstrumentDef,
    read: impl Fn(&Observer<'_, u64>) + Send + Sync + 'static,
) {
    let call = move |to: &dyn AsyncInstrument<u64>| read(&Observer { row, to });
    if row.kind == InstrumentKind::ObservableCounter {
        let builder =
            meter.u64_observable_counter(row.name).with_unit(row.unit).with_description(row.description);
        let _ = builder.with_callback(call).build();
    } else {
        debug_assert_eq!(row.kind, InstrumentKind::ObservableGauge);
        let builder =
            meter.u64_observable_gauge(row.name).with_unit(row.unit).with_description(row.description);
        let _ = builder.with_callback(call).build();
    }
}

/// Makes an observable up-down counter of whole numbers.
pub(in crate::telemetry) fn observe_level(
    meter: &Meter,
    row: &'static InstrumentDef,
    read: impl Fn(&Observer<'_, i64>) + Send + Sync + 'static,
) {
    debug_assert_eq!(row.kind, InstrumentKind::ObservableUpDownCounter);
    let call = move |to: &dyn AsyncInstrument<i64>| read(&Observer { row, to });
    let builder =
        meter.i64_observable_up_down_counter(row.name).with_unit(row.unit).with_description(row.description);
    let _ = builder.with_callback(call).build();
}

/// Makes an observable instrument of seconds.
pub(in crate::telemetry) fn observe_seconds(
    meter: &Meter,
    row: &'static InstrumentDef,
    read: impl Fn(&Observer<'_, f64>) + Send + Sync + 'static,
) {
    let call = move |to: &dyn AsyncInstrument<f64>| read(&Observer { row, to });
    if row.kind == InstrumentKind::ObservableCounter {
        let builder =
            meter.f64_observable_counter(row.name).with_unit(row.unit).with_description(row.description);
        let _ = builder.with_callback(call).build();
    } else {
        debug_assert_eq!(row.kind, InstrumentKind::ObservableGauge);
        let builder =
            meter.f64_observable_gauge(row.name).with_unit(row.unit).with_description(row.description);
        let _ = builder.with_callback(call).build();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::catalog::instruments;

    /// A series that is not bound is not counted.
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
