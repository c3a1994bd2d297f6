//! The alert rules, their promtool tests, their runbooks, and each alert alive: its fault injected into the
//! real thing, and nothing but it fires.

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

/// Alerts read what the first group records. Without an order, promtool takes a new one in each run.
const GROUP_ORDER: [&str; 2] = ["elpio-objective", "elpio-operator"];
