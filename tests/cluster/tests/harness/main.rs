//! Tests of the harness itself, on which the operator's tests rest.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

mod cluster;
mod fake_engines;
mod objects;
mod otlp_receiver;
mod webhook;

use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(30);
