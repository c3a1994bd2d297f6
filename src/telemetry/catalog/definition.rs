//! What a row of the instrument table is made of; it holds no row.

/// What kind of instrument a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstrumentKind {
    /// Only grows.
    Counter,
    /// Only grows; read at collection.
    ObservableCounter,
    /// Grows and shrinks.
    UpDownCounter,
    /// Grows and shrinks; read at collection.
    ObservableUpDownCounter,
    /// Read at collection; what is not observed has no series.
    ObservableGauge,
    /// Explicit buckets.
    Histogram,
}

/// The values that an attribute may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowedValues {
    /// These and no others.
    Closed(&'static [&'static str]),
    /// Bounded as described.
    Described(&'static str),
}

impl AllowedValues {
    /// Whether this value is allowed; a described one is always.
    #[must_use]
    pub fn allow(self, value: &str) -> bool {
        match self {
            Self::Closed(set) => set.contains(&value),
            Self::Described(_) => true,
        }
    }
}

/// An attribute of an instrument.
#[derive(Clone, Copy, Debug)]
pub struct Attribute {
    /// Its key; dots become underscores on the Prometheus page.
    pub key: &'static str,
    /// What it may hold.
    pub values: AllowedValues,
}

/// One instrument.
#[derive(Clone, Copy, Debug)]
pub struct InstrumentDef {
    /// OpenTelemetry name.
    pub name: &'static str,
    /// What it is.
    pub kind: InstrumentKind,
    /// UCUM unit.
    pub unit: &'static str,
    /// Help text.
    pub description: &'static str,
    /// Name of the family on the Prometheus page.
    pub prometheus_name: &'static str,
    /// Upper bounds, for a histogram.
    pub buckets: &'static [f64],
    /// Attributes, in the order in which values are given.
    pub attributes: &'static [Attribute],
    /// Which combinations of closed values can occur; `None`: all.
    pub is_valid: Option<fn(&[&str]) -> bool>,
    /// Moves between two collections of a quiet operator.
    pub volatile: bool,
    /// Keeps the last sampled span of each bucket for OpenMetrics.
    pub exemplars: bool,
    /// Series at most; what is beyond is counted under `otel_metric_overflow="true"`.
    pub cardinality_limit: usize,
}

impl InstrumentDef {
    /// Every combination of attribute values that can occur; empty when one of the sets is not closed.
    #[must_use]
    pub fn combinations(&self) -> Vec<Vec<&'static str>> {
        let mut all = vec![Vec::new()];
        for attribute in self.attributes {
            let AllowedValues::Closed(values) = attribute.values else { return Vec::new() };
            all = all
                .iter()
                .flat_map(|head| values.iter().map(move |value| [head.as_slice(), &[*value]].concat()))
                .collect();
        }
        all.retain(|values: &Vec<&str>| self.is_valid.is_none_or(|occurs| occurs(values)));
        all
    }

    /// Whether these values, in the order of the attributes, are allowed.
    #[must_use]
    pub fn allows(&self, values: &[&str]) -> bool {
        values.len() == self.attributes.len()
            && self.attributes.iter().zip(values).all(|(attribute, value)| attribute.values.allow(value))
            && self.is_valid.is_none_or(|occurs| occurs(values))
    }
}
