//! The operator as a process, against a real API server with the real CRDs of the engines. The engines' own
//! part is played by a stand-in that writes the status that they would write.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::float_cmp,
    missing_docs,
    reason = "a test has to fail at once, and says what it saw; counters are whole numbers"
)]

mod adoption_cases;
mod api_server_proxy;
mod apply_cases;
mod audit_cases;
mod bulkhead;
mod canary;
mod cause_cases;
mod check;
mod check_faults;
mod deleted_cases;
mod drift_cases;
mod errors;
mod event_cases;
mod events;
mod fault_cases;
mod fault_proxy;
mod function;
mod function_cases;
mod function_env;
mod handover;
mod hostile;
mod hosts;
mod invalid;
mod leader_cases;
mod life;
mod lost;
mod note_cases;
mod object_cases;
mod optional;
mod ownership_cases;
mod pages;
mod panic_cases;
mod plugin;
mod plugin_children;
mod plugin_terminal;
mod program;
mod recorder_cases;
mod recorder_isolation;
mod restart;
mod rollout;
mod service_cases;
mod service_spec_cases;
mod slow_clients;
mod span_rows;
mod store_cases;
mod switch;
mod take_over_cases;
mod tcp_proxy;
mod tenant_cases;
mod watch_outage;
mod writes;

use elpio_support::live_env;
