//! The Prometheus page: renders the registry's metrics; it opens no socket.

use std::{fmt, sync::Arc};

use prometheus::{Registry, TextEncoder};

use crate::telemetry::prometheus::{exemplars::ExemplarReservoir, openmetrics};

/// A format of the page. No instrument's name needs escaping, so every escaping scheme that keeps such names
/// applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text004,
    Text100,
    Text100Utf8,
    OpenMetrics001,
    OpenMetrics100,
    OpenMetrics100Utf8,
}

impl Format {
    fn content_type(self) -> &'static str {
        match self {
            Self::Text004 => "text/plain; version=0.0.4; charset=utf-8",
            Self::Text100 => "text/plain; version=1.0.0; charset=utf-8; escaping=underscores",
            Self::Text100Utf8 => "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
            Self::OpenMetrics001 => "application/openmetrics-text; version=0.0.1; charset=utf-8",
            Self::OpenMetrics100 => {
                "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"
            }
            Self::OpenMetrics100Utf8 => {
                "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
            }
        }
    }

    fn is_openmetrics(self) -> bool {
        matches!(self, Self::OpenMetrics001 | Self::OpenMetrics100 | Self::OpenMetrics100Utf8)
    }

    /// The format that a media range of `Accept` requests, if the page has it.
    fn of(media: &str, version: Option<&str>, escaping: Option<&str>) -> Option<Self> {
        let is_utf8 = escaping == Some("allow-utf-8");
        match (media.to_ascii_lowercase().as_str(), version) {
            ("application/openmetrics-text", Some("1.0.0") | None) if is_utf8 => {
                Some(Self::OpenMetrics100Utf8)
            }
            ("application/openmetrics-text", Some("1.0.0") | None) => Some(Self::OpenMetrics100),
            ("application/openmetrics-text", Some("0.0.1")) => Some(Self::OpenMetrics001),
            ("text/plain", Some("1.0.0")) if is_utf8 => Some(Self::Text100Utf8),
            ("text/plain", Some("1.0.0")) => Some(Self::Text100),
            ("text/plain", Some("0.0.4") | None) | ("text/*" | "*/*", _) => Some(Self::Text004),
            _ => None,
        }
    }
}

/// The page; cheap to clone. Each rendering collects again.
///
/// ```
/// # use elpio_operator::telemetry::PrometheusEndpoint;
/// fn openmetrics(endpoint: &PrometheusEndpoint) -> String {
///     let (content_type, body) = endpoint.render(Some("application/openmetrics-text;version=1.0.0"));
///     assert!(content_type.starts_with("application/openmetrics-text"));
///     String::from_utf8_lossy(&body).into_owned()
/// }
/// ```
#[derive(Clone)]
pub struct PrometheusEndpoint {
    registry: Registry,
    exemplars: Arc<ExemplarReservoir>,
}

impl fmt::Debug for PrometheusEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrometheusEndpoint")
    }
}

impl PrometheusEndpoint {
    pub(in crate::telemetry) fn new(registry: Registry, exemplars: Arc<ExemplarReservoir>) -> Self {
        Self { registry, exemplars }
    }

    /// Content type and body according to the `Accept` header: OpenMetrics (with exemplars) if preferred,
    /// else Prometheus text.
    #[must_use]
    pub fn render(&self, accept: Option<&str>) -> (&'static str, Vec<u8>) {
        let families = self.registry.gather();
        let format = negotiate(accept.unwrap_or_default());
        if format.is_openmetrics() {
            let text = openmetrics::encode(&families, &self.exemplars);
            return (format.content_type(), text.into_bytes());
        }
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&families, &mut text) {
            tracing::warn!(%error, "failed to encode all of /metrics");
        }
        (format.content_type(), text.into_bytes())
    }
}

/// The format with the highest weight; OpenMetrics wins ties. Text if no requested format is available (RFC
/// 9110, 12.4.2 and 12.5.1).
fn negotiate(accept: &str) -> Format {
    let ranges = accept.split(',').filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next()?;
        let parameters: Vec<(String, &str)> = parts
            .filter_map(|part| part.split_once('='))
            .map(|(key, value)| (key.trim().to_ascii_lowercase(), value.trim().trim_matches('"')))
            .collect();
        let value = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| *value);
        let weight = value("q").map_or(Some(1.0), |q| q.parse::<f64>().ok()).filter(|q| *q > 0.0)?;
        Some((weight, Format::of(media, value("version"), value("escaping"))?))
    });
    let best = ranges.reduce(|best, next| {
        let better =
            next.0 > best.0 || (next.0 >= best.0 && next.1.is_openmetrics() && !best.1.is_openmetrics());
        if better { next } else { best }
    });
    best.map_or(Format::Text004, |(_, format)| format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_format_that_accept_prefers() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for (accept, format) in [
            (prometheus, Format::OpenMetrics100Utf8),
            ("application/openmetrics-text", Format::OpenMetrics100),
            ("APPLICATION/OPENMETRICS-TEXT", Format::OpenMetrics100),
            ("Application/OpenMetrics-Text; version=1.0.0", Format::OpenMetrics100),
            ("application/openmetrics-text; version=0.0.1", Format::OpenMetrics001),
            ("application/openmetrics-text; version=2.0.0", Format::Text004),
            (
                "application/openmetrics-text; version=2.0.0, application/openmetrics-text; version=1.0.0;q=0.5",
                Format::OpenMetrics100,
            ),
            ("application/openmetrics-text;q=0", Format::Text004),
            ("application/openmetrics-text;q=0, text/plain", Format::Text004),
            ("application/openmetrics-text;q=0.2, text/plain", Format::Text004),
            ("application/openmetrics-text, text/plain", Format::OpenMetrics100),
            ("text/plain;version=1.0.0;escaping=allow-utf-8", Format::Text100Utf8),
            ("text/plain;version=1.0.0", Format::Text100),
            ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Format::Text004),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.9,text/plain;q=0.2",
                Format::Text004,
            ),
            ("application/json", Format::Text004),
            ("text/plain", Format::Text004),
            ("*/*", Format::Text004),
            ("", Format::Text004),
            (";;=,q=,,", Format::Text004),
        ] {
            assert_eq!(negotiate(accept), format, "{accept}");
        }
    }

    #[test]
    fn every_content_type_of_version_1_names_the_escaping() {
        for format in
            [Format::Text100, Format::Text100Utf8, Format::OpenMetrics100, Format::OpenMetrics100Utf8]
        {
            assert!(format.content_type().contains("; escaping="), "{format:?}");
        }
        for format in [Format::Text004, Format::OpenMetrics001] {
            assert!(!format.content_type().contains("escaping"), "{format:?}");
        }
    }
}
