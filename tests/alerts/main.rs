//! The alert rules, their promtool tests, their runbooks, and each alert alive: its fault injected into the
//! real thing, and nothing but it fires.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test has to fail at once, and says what it saw"
)]

mod clusters;
mod faults;
mod generated;
mod load_faults;
mod matrix;
mod objective;
mod promtool;
mod rules;
mod runbooks;
mod scenario;
mod table;

use elpio_support::{live_env, permissions, promql};

/// Alerts read what the first group records. Without an order, promtool takes a new one in each run.
const GROUP_ORDER: [&str; 2] = ["elpio-objective", "elpio-operator"];
