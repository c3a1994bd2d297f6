//! Encodes metric families as OpenMetrics text, with exemplars; it changes no values.
//!
//! Per the OpenMetrics 1.0 specification: a counter family's name has no `_total`, floats have a point, and
//! the text ends with `# EOF`.

use std::{fmt::Write as _, time::UNIX_EPOCH};

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

use crate::telemetry::prometheus::exemplars::{Exemplar, ExemplarReservoir, labels};

/// The limit for the labels of an exemplar, in characters (OpenMetrics 1.0, exemplars).
const EXEMPLAR_RUNES: usize = 128;

/// Encodes all families.
pub(in crate::telemetry) fn encode(families: &[MetricFamily], exemplars: &ExemplarReservoir) -> String {
    let mut text = String::new();
    for family in families {
        // Writing to a String never fails.
        let _ = write_family(&mut text, family, exemplars);
    }
    text.push_str("# EOF\n");
    text
}

fn write_family(text: &mut String, family: &MetricFamily, exemplars: &ExemplarReservoir) -> std::fmt::Result {
    let (kind, name) = match family.get_field_type() {
        MetricType::COUNTER => ("counter", family.name().strip_suffix("_total").unwrap_or(family.name())),
        MetricType::HISTOGRAM => ("histogram", family.name()),
        MetricType::GAUGE => ("gauge", family.name()),
        // The exporter creates no others.
        MetricType::SUMMARY | MetricType::UNTYPED => return Ok(()),
    };
    writeln!(text, "# TYPE {name} {kind}")?;
    // A family may have a unit only if its name ends with it.
    if let Some(unit) = ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(&format!("_{unit}"))) {
        writeln!(text, "# UNIT {name} {unit}")?;
    }
    writeln!(text, "# HELP {name} {}", escaped(family.help()))?;
    for metric in family.get_metric() {
        match kind {
            "counter" => sample(text, name, "_total", metric, metric.get_counter().get_value())?,
            "gauge" => sample(text, name, "", metric, metric.get_gauge().get_value())?,
            _ => histogram(text, name, metric, exemplars)?,
        }
        if kind != "histogram" {
            text.push('\n');
        }
    }
    Ok(())
}

fn histogram(
    text: &mut String,
    name: &str,
    metric: &Metric,
    reservoir: &ExemplarReservoir,
) -> std::fmt::Result {
    let histogram = metric.get_histogram();
    let key = labels(metric.get_label().iter().map(|pair| (pair.name(), pair.value().to_owned())));
    let exemplars = reservoir.for_series(name, &key);
    let bounds = histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite());
    let buckets = bounds.map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
    for (i, (bound, count)) in buckets.chain([(f64::INFINITY, histogram.get_sample_count())]).enumerate() {
        sample_head(text, name, "_bucket", metric.get_label(), Some(&float(bound)))?;
        write!(text, " {count}")?;
        if let Some(Some(last)) = exemplars.get(i) {
            exemplar(text, last)?;
        }
        text.push('\n');
    }
    sample(text, name, "_sum", metric, histogram.get_sample_sum())?;
    text.push('\n');
    sample_head(text, name, "_count", metric.get_label(), None)?;
    writeln!(text, " {}", histogram.get_sample_count())
}

fn sample(text: &mut String, name: &str, suffix: &str, metric: &Metric, value: f64) -> std::fmt::Result {
    sample_head(text, name, suffix, metric.get_label(), None)?;
    write!(text, " {}", float(value))
}

fn sample_head(
    text: &mut String,
    name: &str,
    suffix: &str,
    labels: &[LabelPair],
    le: Option<&str>,
) -> std::fmt::Result {
    write!(text, "{name}{suffix}")?;
    let pairs = labels.iter().map(|pair| (pair.name(), pair.value())).chain(le.map(|bound| ("le", bound)));
    let mut open = '{';
    for (key, value) in pairs {
        write!(text, "{open}{key}=\"{}\"", escaped(value))?;
        open = ',';
    }
    if open == ',' {
        text.push('}');
    }
    Ok(())
}

fn exemplar(text: &mut String, exemplar: &Exemplar) -> std::fmt::Result {
    let (trace, span) = (exemplar.ids.trace_id(), exemplar.ids.span_id());
    if "trace_id".len() + trace.len() + "span_id".len() + span.len() > EXEMPLAR_RUNES {
        return Ok(());
    }
    let at = exemplar.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    write!(
        text,
        " # {{trace_id=\"{trace}\",span_id=\"{span}\"}} {} {}.{:03}",
        float(exemplar.value),
        at.as_secs(),
        at.subsec_millis()
    )
}

fn float(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else if value.is_nan() {
        "NaN".to_owned()
    } else {
        // `Debug` writes a point, and an exponent if that is shorter.
        format!("{value:?}")
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_have_a_point_and_infinities_a_sign() {
        for (value, text) in [
            (1.0, "1.0"),
            (0.25, "0.25"),
            (1e-8, "1e-8"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(float(value), text);
        }
    }

    #[test]
    fn label_values_are_escaped() {
        assert_eq!(escaped("a\\b\"c\nd"), "a\\\\b\\\"c\\nd");
    }
}
