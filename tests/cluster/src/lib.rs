//! Starts the real components that Elpio's tests, demo and benchmark run against. It may not use the
//! operator's code: the operator is one more process here.
//!
//! ```no_run
//! # async fn example() {
//! use elpio_cluster::{Cluster, Operator};
//!
//! let cluster = Cluster::shared().await; // etcd, kube-apiserver, kube-controller-manager and all CRDs
//! let namespace = cluster.namespace("demo").await; // isolates this test from others on the same cluster
//! let binary = elpio_cluster::cargo::build_operator(false).unwrap();
//! let mut operator = Operator::spawn(&binary, &cluster.kubeconfig(), &[("ELPIO_NAMESPACES", &namespace)]);
//! operator.wait_ready().await;
//! # }
//! ```
//!
//! | variable | effect |
//! |---|---|
//! | `KUBEBUILDER_ASSETS` | a directory with etcd, kube-apiserver, kube-controller-manager (otelcol, jaeger, prometheus, promtool): used instead of building them |
//! | `ELPIO_OLDEST_KUBERNETES` | if set, the API server and the controller manager are of the oldest supported version |
//! | `XDG_CACHE_HOME` | parent of `elpio-operator/components/`, where built binaries are cached (default `~/.cache`) |
//! | `ELPIO_KEEP` | if set, temporary directories with data and logs are not removed |
//!
//! | directory | contents |
//! |---|---|
//! | `components` | the binaries: built once from Go modules; the operator, built by cargo |
//! | `process` | child processes, temporary directories, network namespaces, port forwarding |
//! | `control_plane` | etcd and Kubernetes, CRDs, users, the audit log |
//! | `buildpacks` | the real buildpacks lifecycle, a registry in memory, sandboxes that stand for containers |
//! | `engines` | Knative, KEDA and Tekton, or fakes that write their status |
//! | `telemetry` | collector, Jaeger, Prometheus, an OTLP receiver, dashboards and alert rules |
//! | `chaos` | a webhook that rejects writes, a proxy that blocks watches, a forward proxy |
//!
//! Every process started here ends with the process that started it, even if that one is killed (see
//! [`process`]).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "test support: a component that cannot be started must fail the test at once, with its log"
)]

pub mod buildpacks;
mod chaos;
pub mod comparison;
pub mod components;
mod control_plane;
pub mod engines;
pub mod operator;
pub mod process;
pub mod progress;
mod repository;
pub mod suite;
mod telemetry;
pub mod units;
mod wait;

pub use chaos::{
    forward_proxy::ForwardProxy,
    watch_blackhole::WatchBlackhole,
    webhook::{self, Webhook},
};
pub use components::cargo;
pub use control_plane::{
    Cluster, ClusterOptions,
    audit::{Audit, AuditEntry},
    crds::Crds,
    edit::{edit, open_schema},
    pki, rbac, samples,
};
pub use engines::{
    Engine, Engines,
    fake::{FakeEngineOptions, FakeEngines, FakeStatus},
};
pub use operator::Operator;
pub use process::{netns, netns_child, port_forward};
pub use repository::repository_root;
pub use telemetry::{
    collector::{self, Collector},
    dashboard::{self, Dashboard},
    exposition,
    jaeger::Jaeger,
    otlp::{self, OtlpReceiver},
    prometheus::{
        self, Prometheus, alerts,
        range::{RangeSeries, TimeRange},
    },
    trace_tree,
};
pub use wait::{eventually, wait_for_object, wait_until_deleted};
