//! Providers, OTLP exporters and their shutdown. It knows neither instruments nor spans of the operator.

pub(in crate::telemetry) mod bounded_processor;
pub(in crate::telemetry) mod builder;
pub(in crate::telemetry) mod counting_exporter;
pub(in crate::telemetry) mod dial;
pub(in crate::telemetry) mod http_client;
pub(in crate::telemetry) mod otlp;
pub(in crate::telemetry) mod probe;
pub(in crate::telemetry) mod providers;
pub(in crate::telemetry) mod reloading;
pub(in crate::telemetry) mod shutdown;
pub(in crate::telemetry) mod spans;
pub(in crate::telemetry) mod tls;
