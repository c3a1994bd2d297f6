//! What the operator emits, judged in the backends that people use: a real collector, Prometheus and Jaeger,
//! with the files of `otel/`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test has to fail at once, and says what it saw"
)]

mod backends;
mod closure;
mod faults;
mod load;
mod pace;
mod parity;
mod receiving;
mod report;
#[path = "../telemetry/rig.rs"]
#[allow(dead_code, clippy::disallowed_types, reason = "shared with the telemetry tests, which use all of it")]
mod rig;
#[path = "../telemetry/span_rows.rs"]
#[allow(clippy::disallowed_types, reason = "shared with the telemetry tests")]
mod span_rows;
#[path = "../live/stage.rs"]
#[allow(dead_code, reason = "shared with the live tests, which use all of it")]
mod stage;
mod unsampled;
mod variables;
