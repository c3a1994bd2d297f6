//! The types of the instrument table's rows; no rows.

/// The kind of an instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstrumentKind {
    /// Monotonic.
    Counter,
    /// Monotonic; observed at collection.
    ObservableCounter,
    /// Not monotonic.
    UpDownCounter,
    /// Not monotonic; observed at collection.
    ObservableUpDownCounter,
    /// Observed at collection; without an observation there is no series.
    ObservableGauge,
    /// With explicit buckets.
    Histogram,
}

/// The values of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowedValues {
    /// A closed set.
    Closed(&'static [&'static str]),
    /// Open, but bounded as described.
    Described(&'static str),
}

impl AllowedValues {
    /// Whether this value is allowed; an open set allows every value.
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
    /// The key; its dots become underscores on the Prometheus page.
    pub key: &'static str,
    /// The allowed values.
    pub values: AllowedValues,
}

/// One instrument.
#[derive(Clone, Copy, Debug)]
pub struct InstrumentDef {
    /// The OpenTelemetry name.
    pub name: &'static str,
    /// The kind of the instrument.
    pub kind: InstrumentKind,
    /// The UCUM unit.
    pub unit: &'static str,
    /// The help text.
    pub description: &'static str,
    /// The family's name on the Prometheus page.
    pub prometheus_name: &'static str,
    /// The upper bounds of a histogram's buckets.
    pub buckets: &'static [f64],
    /// The attributes, in the order of the values.
    pub attributes: &'static [Attribute],
    /// The combinations of closed values that can occur; `None`: all.
    pub is_valid: Option<fn(&[&str]) -> bool>,
    /// Whether it changes between two collections while the operator is idle.
    pub volatile: bool,
    /// Whether OpenMetrics shows the last sampled span of each bucket as an exemplar.
    pub exemplars: bool,
    /// The cardinality limit; the SDK adds the excess to the series `otel_metric_overflow="true"`.
    pub cardinality_limit: usize,
}

impl InstrumentDef {
    /// Every combination of attribute values that can occur; empty if a set is open.
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
