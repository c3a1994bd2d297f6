//! What the operator emits, seen through in-memory exporters, the Prometheus page, and a real OTLP receiver.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::disallowed_types, reason = "the exporters' own types are what is looked at")]

mod batches;
mod calls;
mod conventions;
mod logs;
mod metrics;
mod openmetrics;
mod panics;
mod proxy;
mod push;
mod quiet;
mod rollouts;
mod span_table;
mod spans;
mod states;
mod table;
mod tls;
mod watches;

use elpio_support::{span_rows, telemetry_harness as harness};
