//! Elpio: turns `ElpioService` and `ElpioFunction` objects into the objects of a serverless engine, and can
//! be *seen* doing it.
//!
//! # The way of the data
//!
//! ```text
//! watch event → cluster::cache → controller::queue (one run an object at a time)
//!   → telemetry::reconcile (span, duration, outcome)
//!     → controller::pipeline: observe → validate → render → apply → status
//!       → a status patch if it differs, Events for the transitions, inside the same span
//! ```
//!
//! `render` and `status` are pure: no client, no clock, no tracing. `cluster` does all the I/O with the API
//! server.
//! `telemetry` wraps, and is not called in between.
//!
//! # Import rule (asserted by `tests/architecture.rs`)
//!
//! `api`, `foreign` import no other layer; `telemetry` ← `api`, `foreign` (its own half alone); `render` ← `api`,
//! `foreign`; `status` ← those and `render`;
//! `cluster` ← those but `status`, and `telemetry`; `controller` ← all of these; `operator` joins them; `run`
//! ← `operator`.

pub mod api;
pub mod cluster;
pub mod config;
pub mod controller;
pub mod foreign;
pub mod http;
pub mod operator;
pub mod render;
pub mod run;
pub mod runtime_info;
pub mod signals;
pub mod status;
pub mod telemetry;
