//! The Grafana dashboards: made from tables, held to the table of instruments, and run against a live
//! Prometheus. Beside them, since they wait for the same backends: the alert rules.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test has to fail at once, and says what it saw"
)]

mod alerts;
mod board;
mod builds;
mod clients;
mod frame;
mod live;
mod operator;
mod rules;
mod services;
mod static_checks;
mod thresholds;

use elpio_support::{live_env, load, permissions, promql, report};

static BOARDS: [&board::Board; 4] = [&operator::BOARD, &services::BOARD, &builds::BOARD, &clients::BOARD];
