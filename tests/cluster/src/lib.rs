//! Starts the real components that Elpio's tests, demo and benchmark run against. It knows nothing of the
//! operator's own code: the operator is one more program that it starts.
//!
//! ```no_run
//! # async fn example() {
//! use elpio_cluster::{Cluster, Operator};
//!
//! let cluster = Cluster::shared().await; // etcd, kube-apiserver, kube-controller-manager, the CRDs of every project
//! let namespace = cluster.namespace("demo").await; // tests that share the cluster keep apart by namespace
//! let binary = elpio_cluster::cargo::build_operator(false).unwrap();
//! let mut operator = Operator::spawn(&binary, &cluster.kubeconfig(), &[("ELPIO_NAMESPACES", &namespace)]);
//! operator.wait_ready().await;
//! # }
//! ```
//!
//! | variable | effect |
//! |---|---|
//! | `KUBEBUILDER_ASSETS` | a folder with etcd, kube-apiserver, kube-controller-manager (otelcol, jaeger, prometheus, promtool): used instead of building them |
//! | `XDG_CACHE_HOME` | where built binaries are kept, under `elpio-operator/components/` (else `~/.cache`) |
//! | `ELPIO_KEEP` | set: the temporary folders with data and logs stay |
//!
//! Everything that is started ends with the process that started it, also when that is killed (see
//! [`process`]).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "test support: a component that cannot be started has to fail the test at once, with its log"
)]

mod admission_server;
pub mod alerts;
mod audit;
pub mod cargo;
pub mod cluster;
pub mod collector;
mod companions;
pub mod components;
mod control_plane;
pub mod crds;
pub mod dashboard;
pub mod engines;
pub mod forward;
mod go_build;
pub mod guardian;
pub mod jaeger;
mod manifest;
pub mod netns;
pub mod operator;
pub mod otlp;
mod otlp_grpc;
mod otlp_http;
mod otlp_store;
pub mod page;
pub mod picture;
pub mod pki;
pub mod proc;
pub mod process;
mod program;
pub mod prometheus;
mod prometheus_range;
pub mod ratio;
pub mod report;
pub mod rights;
pub mod samples;
mod signals;
pub mod silence;
pub mod standin;
pub mod suite;
pub mod tree;
mod verdict;
pub mod wait;
pub mod webhook;

pub use cluster::{Audit, AuditEntry, Cluster, Options};
pub use collector::Collector;
pub use crds::Crds;
pub use dashboard::Dashboard;
pub use engines::{Engine, Engines};
pub use jaeger::Jaeger;
pub use operator::Operator;
pub use otlp::OtlpReceiver;
pub use prometheus::Prometheus;
pub use prometheus_range::{Line, Window};
pub use silence::WatchSilencer;
pub use standin::StandInEngine;
pub use wait::eventually;
pub use webhook::Webhook;
