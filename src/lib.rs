//! Elpio: turns `ElpioService` and `ElpioFunction` objects into the objects of a serverless engine, observable end
//! to end.
//!
//! # Data flow
//!
//! ```text
//! watch event → cluster::store → controller::workqueue (one reconcile an object at a time)
//!   → telemetry::reconcile (span, duration, outcome)
//!     → controller::reconcile: validate → render → apply → status → write it → publish its Events
//! ```
//!
//! `render` and `status` are pure: no client, no clock, no tracing. `cluster` does the I/O with the API
//! server, except for status writes, which `controller::reconcile` does. `telemetry` wraps reconciles, the
//! client and the watches; only it calls OpenTelemetry, and the rest of the code uses its types.
//!
//! # Start reading here
//!
//! 1. `api/service.rs`: what a user writes.
//! 2. `render/service.rs`: the children of a valid spec.
//! 3. `render/knative.rs`: those of one engine.
//! 4. `status/service/mod.rs`: what the children's states add up to.
//! 5. `controller/reconcile/mod.rs`: one reconcile, as a sentence.
//! 6. `cluster/apply/mod.rs`: how children are written, and what is left alone.
//! 7. `telemetry/reconcile/mod.rs`: what every reconcile emits.
//! 8. `operator/mod.rs`: all of it, joined.
//!
//! # Where is …
//!
//! | question | file |
//! |---|---|
//! | how a back-off is computed, and who uses it | `backoff.rs`; by error class: `controller/workqueue/retry.rs` |
//! | which objects a child's change enqueues | `controller/mapper.rs` |
//! | where concurrency is limited | `controller/workqueue/slots.rs`, `shared_slots.rs` and `split.rs`; who goes first: `controller/workqueue/precedence.rs`; how many are in flight, and the lanes: `controller/workers.rs` |
//! | what happens when a status cannot be written | `controller/reconcile/status_write.rs` |
//! | where the gauges of objects by state come from | `controller/state_counts.rs` |
//! | where sampling is decided | `telemetry/trace/sampler.rs` |
//! | what a log line looks like | `telemetry/log/format.rs` |
//! | what a work item is | `controller/workqueue/mod.rs` (`WorkItem`) |
//! | who may own a name that Elpio wants | `cluster/apply/ownership.rs` |
//! | how a function is planned | `render/function/mod.rs`; whether a build is due: `render/function/build_plan.rs` |
//!
//! # Import rule (asserted by `tests/architecture/`)
//!
//! | module | may import |
//! |---|---|
//! | `api`, `backoff`, `foreign`, `signals`, `terminal` | nothing |
//! | `telemetry` | `api`, `backoff`, `foreign` (generic files: only parts that know nothing of Elpio) |
//! | `render` | `api`, `backoff`, `foreign` |
//! | `status` | `api`, `foreign`, `render` |
//! | `cluster` | `api`, `backoff`, `foreign`, `render`, `telemetry` |
//! | `config` | `api`, `telemetry` |
//! | `controller` | `api`, `backoff`, `cluster`, `config`, `foreign`, `render`, `status`, `telemetry` |
//! | `http` | `config`, `telemetry` |
//! | `runtime_info` | `telemetry` |
//! | `operator` | as `controller`, without `backoff`; also `controller`, `http`, `runtime_info` |
//! | `run` | `cluster`, `config`, `http`, `operator`, `runtime_info`, `signals`, `telemetry` |
//! | `command_line` | `cluster`, `terminal` |
//! | `plugin` | `api`, `cluster`, `command_line`, `foreign`, `telemetry`, `terminal` |
//! | `check` | as `plugin`; also `config`, `runtime_info` |
//! | `main` | `api`, `check`, `plugin`, `run` |

pub mod api;
pub mod backoff;
pub mod check;
pub mod cluster;
pub mod command_line;
pub mod config;
pub mod controller;
pub mod foreign;
pub mod http;
pub mod operator;
pub mod plugin;
pub mod render;
pub mod run;
pub mod runtime_info;
pub mod signals;
pub mod status;
pub mod telemetry;
pub mod terminal;
