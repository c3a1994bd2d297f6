//! The Prometheus endpoint: text, OpenMetrics, exemplars. It opens no socket.

pub mod endpoint;
pub(in crate::telemetry) mod exemplars;
pub(in crate::telemetry) mod openmetrics;
