//! The Grafana dashboards: made from tables, held to the table of instruments, and run against a live
//! Prometheus.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test has to fail at once, and says what it saw"
)]

mod board;
mod builds;
mod clients;
mod live;
#[path = "../backends/load.rs"]
#[allow(dead_code, reason = "shared with the tests of the backends, which use all of it")]
mod load;
mod operator;
mod promql;
#[path = "../backends/report.rs"]
mod report;
mod rules;
mod services;
#[path = "../live/stage.rs"]
#[allow(dead_code, reason = "shared with the live tests, which use all of it")]
mod stage;
mod static_checks;

static BOARDS: [&board::Board; 4] = [&operator::BOARD, &services::BOARD, &builds::BOARD, &clients::BOARD];
