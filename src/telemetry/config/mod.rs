//! Parses the `OTEL_*` variables once; it reads only its arguments and starts nothing.

pub mod env;
pub(in crate::telemetry) mod limits;
pub(in crate::telemetry) mod otlp;
pub(in crate::telemetry) mod proxy;
pub(in crate::telemetry) mod resource;
pub(in crate::telemetry) mod sampler;

use std::time::Duration;

use opentelemetry_sdk::metrics::Temporality;

use crate::telemetry::{
    catalog::attributes::Signal,
    config::{
        env::{EnvReader, NO_LIMIT, pairs},
        limits::{BatchConfig, RecordLimits, SpanLimits, batch, record_limits, span_limits},
        otlp::{OtlpConfig, otlp},
        sampler::{RootSampler, SAMPLER_ARG, SamplerChoice, sampler},
    },
};

/// Why telemetry could not start.
#[derive(Debug, thiserror::Error)]
#[error("telemetry: {0}")]
pub struct InitError(pub String);

impl InitError {
    pub(in crate::telemetry) fn from_error(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// The identity of this operator, for the resource.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The program's version.
    pub version: &'static str,
    /// The source revision of the build.
    pub revision: &'static str,
    /// The compiler of the build.
    pub rustc: &'static str,
    /// The namespace of the operator's pod.
    pub namespace: Option<String>,
    /// The name of the operator's pod.
    pub pod_name: Option<String>,
    /// The uid of the operator's pod.
    pub pod_uid: Option<String>,
    /// The node of the pod.
    pub node_name: Option<String>,
    /// The uid of the namespace `kube-system`.
    pub cluster_uid: Option<String>,
}

/// The format of the log on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Human-readable.
    Pretty,
    /// One JSON object per line.
    Json,
}

/// The log on stderr.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// The `tracing` directives: `ELPIO_LOG`, else `RUST_LOG`, else `info`. They never affect spans or metrics.
    pub filter: String,
    /// The format of lines.
    pub format: LogFormat,
    /// Whether to use colours.
    pub ansi: bool,
}

/// The parsed `OTEL_*` variables. `Debug` shows no headers and no passwords.
#[derive(Clone, Debug)]
pub struct TelemetryConfig {
    pub(in crate::telemetry) disabled: bool,
    pub(in crate::telemetry) traces: SignalExporters,
    pub(in crate::telemetry) metrics: SignalExporters,
    pub(in crate::telemetry) logs: SignalExporters,
    pub(in crate::telemetry) service_name: Option<String>,
    pub(in crate::telemetry) resource: Vec<(String, String)>,
    pub(in crate::telemetry) sampler: SamplerChoice,
    pub(in crate::telemetry) propagate: bool,
    pub(in crate::telemetry) spans: BatchConfig,
    pub(in crate::telemetry) records: BatchConfig,
    pub(in crate::telemetry) interval: Duration,
    pub(in crate::telemetry) timeout: Duration,
    pub(in crate::telemetry) temporality: Temporality,
    pub(in crate::telemetry) limits: SpanLimits,
    pub(in crate::telemetry) record_limits: RecordLimits,
}

/// The exporters of a signal.
#[derive(Clone, Debug, Default)]
pub(in crate::telemetry) struct SignalExporters {
    pub(in crate::telemetry) otlp: Option<OtlpConfig>,
    pub(in crate::telemetry) console: bool,
}

impl SignalExporters {
    pub(in crate::telemetry) fn is_on(&self) -> bool {
        self.otlp.is_some() || self.console
    }
}

/// Variables of the OpenTelemetry specification without effect here. The log names each one that is set at startup.
const UNUSED: &[&str] = &[
    "OTEL_CONFIG_FILE",
    "OTEL_EXPERIMENTAL_CONFIG_FILE",
    "OTEL_LOG_LEVEL",
    "OTEL_ENTITIES",
    "OTEL_METRICS_EXEMPLAR_FILTER",
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
    "OTEL_EXPORTER_PROMETHEUS_HOST",
    "OTEL_EXPORTER_PROMETHEUS_PORT",
    "OTEL_EXPORTER_ZIPKIN_ENDPOINT",
    "OTEL_EXPORTER_ZIPKIN_TIMEOUT",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SEMCONV_STABILITY_OPT_IN",
    "OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN",
];

impl TelemetryConfig {
    /// Parses the environment. Also returns warnings; each names the variable, its value and the value used.
    pub fn from_env(get: &dyn Fn(&str) -> Option<String>) -> (TelemetryConfig, Vec<String>) {
        let mut env = EnvReader::new(get);
        let disabled = env.bool("OTEL_SDK_DISABLED", false);
        let config = if disabled { Self::off() } else { Self::read(&mut env) };
        (Self { disabled, propagate: propagate(&mut env), ..config }, env.into_warnings())
    }

    /// A configuration that exports nothing.
    #[must_use]
    pub fn off() -> Self {
        Self::read(&mut EnvReader::new(&|_| None))
    }

    fn read(env: &mut EnvReader<'_>) -> Self {
        Self {
            disabled: false,
            traces: output(env, Signal::Traces),
            metrics: output(env, Signal::Metrics),
            logs: output(env, Signal::Logs),
            service_name: env.text("OTEL_SERVICE_NAME"),
            resource: resource(env),
            sampler: sampler(env),
            propagate: true,
            spans: batch(env, "OTEL_BSP", Duration::from_secs(5)),
            records: batch(env, "OTEL_BLRP", Duration::from_secs(1)),
            interval: env.millis("OTEL_METRIC_EXPORT_INTERVAL", Duration::from_mins(1), None),
            timeout: env.millis("OTEL_METRIC_EXPORT_TIMEOUT", Duration::from_secs(30), Some(NO_LIMIT)),
            temporality: temporality(env),
            limits: span_limits(env),
            record_limits: record_limits(env),
        }
        .with_unused_named(env)
    }

    fn with_unused_named(self, env: &mut EnvReader<'_>) -> Self {
        let is_unused = |name: &&str| env.text(name).is_some_and(|value| !is_true_already(name, &value));
        let mut unused: Vec<&str> = UNUSED.iter().copied().filter(is_unused).collect();
        if env.text(SAMPLER_ARG).is_some() && !matches!(self.sampler.root, RootSampler::Ratio(_)) {
            unused.push("OTEL_TRACES_SAMPLER_ARG (the sampler takes no argument)");
        }
        if !unused.is_empty() {
            env.note(UNUSED[0], format!("not supported, ignored: {}", unused.join(", ")));
        }
        self
    }

    /// Whether any signal is exported.
    #[must_use]
    pub fn exports_anything(&self) -> bool {
        self.traces.is_on() || self.metrics.is_on() || self.logs.is_on()
    }
}

/// This is already the default: exceptions are always log records, never span events.
fn is_true_already(variable: &str, value: &str) -> bool {
    variable == "OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN" && value.eq_ignore_ascii_case("logs")
}

/// `OTEL_<SIGNAL>_EXPORTER`; if unset, `otlp` if there is an endpoint, else none.
fn output(env: &mut EnvReader<'_>, signal: Signal) -> SignalExporters {
    let upper = signal.as_str().to_ascii_uppercase();
    let variable = format!("OTEL_{upper}_EXPORTER");
    let own = format!("OTEL_EXPORTER_OTLP_{upper}_ENDPOINT");
    let has_endpoint = env.first(&[&own, "OTEL_EXPORTER_OTLP_ENDPOINT"]).is_some();
    let Some(list) = env.text(&variable) else {
        return SignalExporters { otlp: has_endpoint.then(|| otlp(env, signal)).flatten(), console: false };
    };
    let (mut wanted, mut console) = (false, false);
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        match name.to_ascii_lowercase().as_str() {
            "prometheus" if signal == Signal::Metrics => {
                let used = if list.to_ascii_lowercase().contains("otlp") { "otlp" } else { "none" };
                env.warn(&variable, &list, "the Prometheus page is opened by ELPIO_METRICS=on", used);
            }
            "otlp" => wanted = true,
            "console" => console = true,
            "none" => {}
            _ => {
                wanted |= has_endpoint;
                let used = if has_endpoint { "otlp" } else { "none" };
                env.warn(&variable, &list, "expected otlp, console, none", used);
            }
        }
    }
    SignalExporters { otlp: wanted.then(|| otlp(env, signal)).flatten(), console }
}

fn resource(env: &mut EnvReader<'_>) -> Vec<(String, String)> {
    const NAME: &str = "OTEL_RESOURCE_ATTRIBUTES";
    let Some(list) = env.text(NAME) else { return Vec::new() };
    pairs(&list).unwrap_or_else(|| {
        env.warn_hidden(NAME, "not a list of key=value with percent-encoded values", "none of it");
        Vec::new()
    })
}

/// Whether to send `traceparent`. Baggage is never sent: the operator creates none.
fn propagate(env: &mut EnvReader<'_>) -> bool {
    const NAME: &str = "OTEL_PROPAGATORS";
    let Some(list) = env.text(NAME) else { return true };
    let lower = list.to_ascii_lowercase();
    let names: Vec<&str> = lower.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if names.iter().any(|name| !matches!(*name, "tracecontext" | "baggage" | "none")) {
        env.warn(NAME, &list, "expected tracecontext, baggage, none", "tracecontext");
        return true;
    }
    names.contains(&"tracecontext") && !names.contains(&"none")
}

fn temporality(env: &mut EnvReader<'_>) -> Temporality {
    const NAME: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
    let Some(value) = env.text(NAME) else { return Temporality::Cumulative };
    match value.to_ascii_lowercase().as_str() {
        "cumulative" => Temporality::Cumulative,
        "delta" => Temporality::Delta,
        "lowmemory" => Temporality::LowMemory,
        _ => {
            env.warn(NAME, &value, "expected cumulative, delta, lowmemory", "cumulative");
            Temporality::Cumulative
        }
    }
}

#[cfg(test)]
mod config_test;
#[cfg(test)]
mod otlp_test;
