//! The sources of the gauges and the shutdown: probes, watch activity, export statistics, open spans, the
//! process. It creates no instruments.

pub(in crate::telemetry) mod error_chain;
pub(in crate::telemetry) mod export_stats;
pub(in crate::telemetry) mod open_spans;
pub(in crate::telemetry) mod probes;
pub(in crate::telemetry) mod process;
pub(in crate::telemetry) mod watch_activity;
