//! Starts the real components that Elpio's tests, demo and benchmark run against. It knows nothing of the operator's own code:
//! the operator is one more program that it starts.
//!
//! ```no_run
//! # async fn example() {
//! let cluster = elpio_cluster::Cluster::shared().await;
//! let client = cluster.client().await;
//! let namespace = cluster.namespace("demo").await;
//! # }
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "test support: a component that cannot be started has to fail the test at once, with its log"
)]

mod admission_server;
mod audit;
pub mod cargo;
pub mod cluster;
mod companions;
pub mod components;
mod control_plane;
pub mod crds;
pub mod operator;
pub mod otlp;
pub mod page;
pub mod pki;
pub mod proc;
pub mod process;
mod report;
pub mod samples;
mod signals;
pub mod standin;
pub mod tree;
mod verdict;
pub mod wait;
pub mod webhook;

pub use cluster::{Audit, AuditEntry, Cluster, Options};
pub use crds::Crds;
pub use operator::Operator;
pub use otlp::OtlpReceiver;
pub use standin::StandInEngine;
pub use wait::eventually;
pub use webhook::Webhook;
