//! What several suites share. Components are started by `elpio-cluster`; here is what knows the operator.
//!
//! | module | for |
//! |---|---|
//! | [`live_env`] | a namespace of a shared cluster, with an operator and fake engines |
//! | [`alerting`] | the rules files, made from `dashboards/settings.yaml` and the template |
//! | [`objective`] | the objective of `dashboards/settings.yaml` as queries and rules |
//! | [`load`] | work for an operator: services that change, a rollout that fails |
//! | [`permissions`] | a user who lacks one permission until it is granted |
//! | [`rules`] | specs that are valid or not, one case for each rule |
//! | [`telemetry_harness`] | telemetry with in-memory exporters, and reconciles that are made up |
//! | [`span_rows`] | whether a span is what its row of the catalog states |
//! | [`promql`] | the names and matchers in a query |
//! | [`report`] | a table in a test's output |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::must_use_candidate,
    clippy::missing_panics_doc,
    clippy::missing_errors_doc,
    clippy::return_self_not_must_use,
    clippy::implicit_hasher,
    missing_docs,
    missing_debug_implementations,
    reason = "a test has to fail at once, and prints what it saw"
)]

pub mod alerting;
pub mod live_env;
pub mod load;
pub mod objective;
pub mod permissions;
pub mod promql;
pub mod report;
pub mod rules;
pub mod span_rows;
pub mod telemetry_harness;
