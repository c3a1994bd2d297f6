//! The `OTEL_*` variables, parsed once; it reads nothing but what it is handed and starts nothing.

pub mod env;
pub(in crate::telemetry) mod otlp;
pub(in crate::telemetry) mod resource;

use std::time::Duration;

use crate::telemetry::{
    catalog::attributes::Signal,
    config::{
        env::{EnvReader, pairs},
        otlp::{OtlpConfig, otlp},
    },
};

/// Who this operator is.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Version of the program.
    pub version: &'static str,
    /// Revision it was built from.
    pub revision: &'static str,
    /// Compiler it was built with.
    pub rustc: &'static str,
    /// Namespace of the operator's pod.
    pub namespace: Option<String>,
    /// Name of the operator's pod.
    pub pod_name: Option<String>,
    /// Uid of the operator's pod.
    pub pod_uid: Option<String>,
    /// Node it runs on.
    pub node_name: Option<String>,
    /// Uid of the namespace `kube-system`.
    pub cluster_uid: Option<String>,
}

/// How log lines look on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For a person at a terminal.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// The log on stderr.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// `ELPIO_LOG`, else `RUST_LOG`, else `info`: `tracing` directives. It never changes spans or metrics.
    pub filter: String,
    /// How lines look.
    pub format: LogFormat,
    /// Colours.
    pub ansi: bool,
}

/// The parsed `OTEL_*` variables. Its `Debug` shows no header and no password.
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

/// Where a signal is pushed to.
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

/// A standard sampler.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::telemetry) struct SamplerChoice {
    pub(in crate::telemetry) parent_based: bool,
    /// Share of the roots that are sampled.
    pub(in crate::telemetry) root: RootSampler,
}

/// How a root is sampled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::telemetry) enum RootSampler {
    On,
    Off,
    Ratio(f64),
}

/// A batch processor's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::telemetry) struct BatchConfig {
    pub(in crate::telemetry) delay: Duration,
    pub(in crate::telemetry) queue: usize,
    pub(in crate::telemetry) export: usize,
    pub(in crate::telemetry) timeout: Duration,
}

/// How sums are pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::telemetry) enum Temporality {
    Cumulative,
    Delta,
    LowMemory,
}

/// Limits of spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::telemetry) struct SpanLimits {
    pub(in crate::telemetry) value_length: Option<usize>,
    pub(in crate::telemetry) attributes: Option<usize>,
    pub(in crate::telemetry) events: Option<usize>,
    pub(in crate::telemetry) links: Option<usize>,
}

/// Limits of log records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::telemetry) struct RecordLimits {
    pub(in crate::telemetry) value_length: Option<usize>,
    pub(in crate::telemetry) attributes: Option<usize>,
}

impl TelemetryConfig {
    /// Parses the environment; the second part are warnings, each names the variable, what it held and what
    /// is used.
    pub fn from_env(get: &dyn Fn(&str) -> Option<String>) -> (TelemetryConfig, Vec<String>) {
        let mut env = EnvReader::new(get);
        let disabled = env.bool("OTEL_SDK_DISABLED", false);
        let settings = if disabled { Self::off() } else { Self::read(&mut env) };
        (Self { disabled, propagate: propagate(&mut env), ..settings }, env.into_warnings())
    }

    /// Nothing is pushed.
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
            interval: env.millis("OTEL_METRIC_EXPORT_INTERVAL", Duration::from_mins(1)),
            timeout: env.millis("OTEL_METRIC_EXPORT_TIMEOUT", Duration::from_secs(30)),
            temporality: temporality(env),
            limits: limits(env),
            record_limits: record_limits(env),
        }
    }

    /// Whether anything is pushed.
    #[must_use]
    pub fn exports_anything(&self) -> bool {
        self.traces.is_on() || self.metrics.is_on() || self.logs.is_on()
    }
}

/// `OTEL_<SIGNAL>_EXPORTER`; unset: `otlp` where an endpoint is set, else nothing is pushed.
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
        match name {
            "otlp" => wanted = true,
            "console" => console = true,
            "none" => {}
            _ => {
                wanted |= has_endpoint;
                let used = if has_endpoint { "otlp" } else { "none" };
                env.warn(&variable, &list, "may hold otlp, console, none", used);
            }
        }
    }
    SignalExporters { otlp: wanted.then(|| otlp(env, signal)).flatten(), console }
}

fn resource(env: &mut EnvReader<'_>) -> Vec<(String, String)> {
    const NAME: &str = "OTEL_RESOURCE_ATTRIBUTES";
    let Some(list) = env.text(NAME) else { return Vec::new() };
    pairs(&list).unwrap_or_else(|| {
        env.warn(NAME, &list, "not a list of key=value with percent-encoded values", "none of it");
        Vec::new()
    })
}

fn sampler(env: &mut EnvReader<'_>) -> SamplerChoice {
    const DEFAULT: SamplerChoice = SamplerChoice { parent_based: true, root: RootSampler::On };
    const NAME: &str = "OTEL_TRACES_SAMPLER";
    let Some(name) = env.text(NAME) else { return DEFAULT };
    let (parent_based, rest) =
        name.strip_prefix("parentbased_").map_or((false, name.as_str()), |rest| (true, rest));
    let root = match rest {
        "always_on" => RootSampler::On,
        "always_off" => RootSampler::Off,
        "traceidratio" => RootSampler::Ratio(ratio(env)),
        _ => {
            let known = "may hold always_on, always_off, traceidratio, or one of them after parentbased_";
            env.warn(NAME, &name, known, "parentbased_always_on");
            return DEFAULT;
        }
    };
    SamplerChoice { parent_based, root }
}

fn ratio(env: &mut EnvReader<'_>) -> f64 {
    const NAME: &str = "OTEL_TRACES_SAMPLER_ARG";
    let Some(value) = env.text(NAME) else { return 1.0 };
    value.parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio)).unwrap_or_else(|| {
        env.warn(NAME, &value, "not a number from 0 to 1", "1");
        1.0
    })
}

/// Whether `traceparent` is sent. Baggage is never sent: nothing here makes any.
fn propagate(env: &mut EnvReader<'_>) -> bool {
    const NAME: &str = "OTEL_PROPAGATORS";
    let Some(list) = env.text(NAME) else { return true };
    let names: Vec<&str> = list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if names.iter().any(|name| !matches!(*name, "tracecontext" | "baggage" | "none")) {
        env.warn(NAME, &list, "may hold tracecontext, baggage, none", "tracecontext");
        return true;
    }
    names.contains(&"tracecontext") && !names.contains(&"none")
}

fn batch(env: &mut EnvReader<'_>, prefix: &str, delay: Duration) -> BatchConfig {
    let queue = env.number(&format!("{prefix}_MAX_QUEUE_SIZE"), 1).unwrap_or(2048);
    let name = format!("{prefix}_MAX_EXPORT_BATCH_SIZE");
    let mut export = env.number(&name, 1).unwrap_or_else(|| queue.min(512));
    if export > queue {
        env.warn(&name, &export.to_string(), "more than the queue holds", &queue.to_string());
        export = queue;
    }
    BatchConfig {
        delay: env.millis(&format!("{prefix}_SCHEDULE_DELAY"), delay),
        queue,
        export,
        timeout: env.millis(&format!("{prefix}_EXPORT_TIMEOUT"), Duration::from_secs(30)),
    }
}

fn temporality(env: &mut EnvReader<'_>) -> Temporality {
    const NAME: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
    let Some(value) = env.text(NAME) else { return Temporality::Cumulative };
    match value.to_ascii_lowercase().as_str() {
        "cumulative" => Temporality::Cumulative,
        "delta" => Temporality::Delta,
        "lowmemory" => Temporality::LowMemory,
        _ => {
            env.warn(NAME, &value, "may hold cumulative, delta, lowmemory", "cumulative");
            Temporality::Cumulative
        }
    }
}

fn limits(env: &mut EnvReader<'_>) -> SpanLimits {
    let common = env.number("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", 0);
    let common_count = env.number("OTEL_ATTRIBUTE_COUNT_LIMIT", 0);
    SpanLimits {
        value_length: env.number("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", 0).or(common),
        attributes: env.number("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", 0).or(common_count),
        events: env.number("OTEL_SPAN_EVENT_COUNT_LIMIT", 0),
        links: env.number("OTEL_SPAN_LINK_COUNT_LIMIT", 0),
    }
}

fn record_limits(env: &mut EnvReader<'_>) -> RecordLimits {
    let (length, count) =
        (env.number("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", 0), env.number("OTEL_ATTRIBUTE_COUNT_LIMIT", 0));
    RecordLimits {
        value_length: env.number("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", 0).or(length),
        // The specification's default.
        attributes: env.number("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", 0).or(count).or(Some(128)),
    }
}

#[cfg(test)]
mod config_test;
