//! Holds the names in a `PromQL` expression against the instrument table.

use std::collections::BTreeSet;

use elpio_operator::telemetry::catalog::instruments::{
    AllowedValues, INSTRUMENTS, InstrumentDef, InstrumentKind,
};

use crate::promql::{Matcher, names};

/// Labels that the scrape adds, that of buckets, and that of series beyond the limit.
const FOREIGN: [&str; 7] =
    ["cluster", "namespace", "job", "instance", "le", "deployment", "otel_metric_overflow"];
/// What others expose: Prometheus itself, and kube-state-metrics.
const OTHERS: [&str; 3] =
    ["up", "kube_deployment_status_replicas_available", "kube_deployment_spec_replicas"];

/// Comments are nothing.
fn bare(expr: &str) -> String {
    expr.lines().map(|line| line.split('#').next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn row(metric: &str) -> Option<&'static InstrumentDef> {
    let ends: &[&str] = &["_bucket", "_sum", "_count"];
    INSTRUMENTS.iter().copied().find(|row| match row.kind {
        InstrumentKind::Histogram => {
            ends.iter().any(|end| metric.strip_suffix(end) == Some(row.prometheus_name))
        }
        _ => row.prometheus_name == metric,
    })
}

/// The labels that an expression groups by.
pub fn grouped_by(expr: &str) -> BTreeSet<String> {
    names(&bare(expr)).unwrap().labels.into_iter().collect()
}

/// Whether every metric is in the table, with these labels, and these values of them.
pub fn check(expr: &str) -> Result<(), String> {
    let named = names(&bare(expr))?;
    let mut labels: BTreeSet<String> = FOREIGN.map(str::to_owned).into();
    let own = |metric: &str| !OTHERS.contains(&metric) && !metric.starts_with("elpio:");
    for (metric, matchers) in named.metrics.iter().filter(|(metric, _)| own(metric)) {
        let row = row(metric).ok_or_else(|| format!("{metric} is not in the instrument table"))?;
        labels.extend(row.attributes.iter().map(|attribute| attribute.key.replace('.', "_")));
        matchers.iter().try_for_each(|matcher| fits(row, matcher))?;
    }
    let strange = named.labels.iter().find(|label| !labels.contains(*label));
    strange.map_or(Ok(()), |label| Err(format!("no metric here has the label {label}")))
}

/// A regular expression without signs of its own is a list of values.
fn fits(row: &InstrumentDef, matcher: &Matcher) -> Result<(), String> {
    if FOREIGN.contains(&matcher.label.as_str()) {
        return Ok(());
    }
    let attribute = row.attributes.iter().find(|attribute| attribute.key.replace('.', "_") == matcher.label);
    let AllowedValues::Closed(allowed) =
        attribute.ok_or_else(|| format!("{} has no label {}", row.prometheus_name, matcher.label))?.values
    else {
        return Ok(());
    };
    let mut values = matcher.value.split('|').filter(|value| !value.contains(['.', '*', '+']));
    let wrong = values.find(|value| !allowed.contains(value));
    wrong.map_or(Ok(()), |value| {
        Err(format!("{} never has {}=\"{value}\"", row.prometheus_name, matcher.label))
    })
}

#[test]
fn what_does_not_exist_is_found() {
    assert_eq!(
        check("sum by (kind) (rate(elpio_reconcile_total{result=\"error\"}[5m]))\n > 1 # seconds"),
        Ok(())
    );
    assert_eq!(
        check("histogram_quantile(0.9, sum by (le) (rate(elpio_rollout_duration_seconds_bucket[5m])))"),
        Ok(())
    );
    for (expr, wrong) in [
        ("elpio_reconciles_total > 0", "elpio_reconciles_total is not"),
        ("elpio_rollout_duration_seconds > 0", "elpio_rollout_duration_seconds is not"),
        ("elpio_reconcile_total{kinds=\"x\"}", "no label kinds"),
        ("elpio_reconcile_total{result=~\"success|failure\"}", "never has result=\"failure\""),
        ("sum by (reason) (elpio_reconcile_total)", "label reason"),
    ] {
        let found = check(expr).unwrap_err();
        assert!(found.contains(wrong), "{expr}: {found}");
    }
}
