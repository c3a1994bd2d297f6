//! Where telemetry goes: real backends, an OTLP receiver that tests can query, and what they answer as plain
//! values. Nothing here emits telemetry.

pub mod collector;
pub mod dashboard;
pub mod exposition;
pub mod jaeger;
pub mod otlp;
pub mod prometheus;
pub mod trace_tree;
