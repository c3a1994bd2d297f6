//! What the operator emits, judged in the backends that people use: a real collector, Prometheus and Jaeger,
//! with the files of `otel/`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test has to fail at once, and says what it saw"
)]

mod audit;
mod backends;
mod closure;
mod events;
mod faults;
mod pace;
mod parity;
mod receiving;
mod registry;
mod registry_files;
mod replicas;
mod rotation;
mod unsampled;
mod variables;

use elpio_support::{live_env, load, permissions, report, telemetry_harness as harness};
