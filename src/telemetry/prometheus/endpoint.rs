//! The Prometheus page: renders what the registry gathers; it opens no socket.

use std::{fmt, sync::Arc};

use prometheus::{Registry, TextEncoder};

use crate::telemetry::prometheus::{exemplars::ExemplarReservoir, openmetrics};

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The page; cheap to clone. Every rendering collects anew.
#[derive(Clone)]
pub struct PrometheusEndpoint {
    registry: Registry,
    exemplars: Arc<ExemplarReservoir>,
}

impl fmt::Debug for PrometheusEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Page")
    }
}

impl PrometheusEndpoint {
    pub(in crate::telemetry) fn new(registry: Registry, exemplars: Arc<ExemplarReservoir>) -> Self {
        Self { registry, exemplars }
    }

    /// Content type and body, by the `Accept` header: OpenMetrics (with exemplars) where it is preferred,
    /// else Prometheus text.
    #[must_use]
    pub fn render(&self, accept: Option<&str>) -> (&'static str, Vec<u8>) {
        let families = self.registry.gather();
        if wants_openmetrics(accept.unwrap_or_default()) {
            return (OPENMETRICS, openmetrics::encode(&families, &self.exemplars).into_bytes());
        }
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&families, &mut text) {
            tracing::warn!(%error, "the Prometheus page is not complete");
        }
        (TEXT, text.into_bytes())
    }
}

/// Whether OpenMetrics has a higher weight than plain text, or the same (RFC 9110, 12.4.2 and 12.5.1).
fn wants_openmetrics(accept: &str) -> bool {
    let weight = |wanted: &str| {
        let ranges = accept.split(',').filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let matches = parts.next()?.eq_ignore_ascii_case(wanted);
            let q = parts
                .find_map(|p| p.strip_prefix("q=").or(p.strip_prefix("Q=")))
                .map_or(Some(1.0), |q| q.parse::<f64>().ok())?;
            matches.then_some(q)
        });
        ranges.fold(0.0, f64::max)
    };
    let openmetrics = weight("application/openmetrics-text");
    openmetrics > 0.0 && openmetrics >= weight("text/plain").max(weight("text/*"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_only_when_it_is_preferred() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for (accept, openmetrics) in [
            (prometheus, true),
            ("application/openmetrics-text", true),
            ("Application/OpenMetrics-Text; version=1.0.0", true),
            ("application/openmetrics-text;q=0", false),
            ("application/openmetrics-text;q=0.2, text/plain", false),
            ("text/plain", false),
            ("*/*", false),
            ("", false),
        ] {
            assert_eq!(wants_openmetrics(accept), openmetrics, "{accept}");
        }
    }
}
