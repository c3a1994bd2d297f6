//! A controller without its kind's type, as the operator holds it.

use futures::future::BoxFuture;
use jiff::Timestamp;
use kube::{Client, core::PartialObjectMeta};
use tokio::sync::watch;

use crate::{
    cluster::store::{
        ObjectChange,
        watch_handle::{WatchContext, WatchHandle},
    },
    foreign::ChildKind,
    telemetry::{self, KindCounts, Trigger},
};

/// A type-erased controller.
pub trait AnyController: Send + Sync {
    /// The kind.
    fn kind(&self) -> telemetry::Kind;

    /// The kinds of its children, and of their watched children.
    fn child_kinds(&self) -> &'static [ChildKind];

    /// Starts the watches of the kind itself, one per namespace (none: all).
    fn watch(&self, client: &Client, namespaces: &[String], context: &WatchContext) -> Vec<WatchHandle>;

    /// Enqueues the objects that a child's change affects.
    fn on_child_change(&self, kind: ChildKind, change: &ObjectChange<PartialObjectMeta>);

    /// Enqueues every object of a namespace ("" for all), for example after an API becomes available.
    fn enqueue_all(&self, namespace: &str, trigger: Trigger);

    /// Enqueues the objects whose status the API server stored only in part.
    fn on_crd_change(&self);

    /// Emits again the spans that a predecessor may not have exported, before any worker runs. The
    /// predecessor had exported all spans up to `exported_until`.
    fn prepare_to_lead(&self, exported_until: Option<Timestamp>);

    /// Starts work: finds the Events that a predecessor may not have published, and enqueues every object.
    fn on_leadership_acquired(&self) -> BoxFuture<'_, ()>;

    /// Reconciles with `workers` workers until `stop` is true, then finishes the reconciles in flight.
    fn run_workers(&self, workers: usize, stop: watch::Receiver<bool>) -> BoxFuture<'static, ()>;

    /// How many objects are being reconciled.
    fn in_flight(&self) -> usize;

    /// The objects by state, for the gauges.
    fn counts(&self) -> KindCounts;
}
