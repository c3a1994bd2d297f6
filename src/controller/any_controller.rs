//! What the operator knows of a controller, whatever its kind.

use futures::future::BoxFuture;
use jiff::Timestamp;
use kube::{Client, core::PartialObjectMeta};
use tokio::sync::watch;

use crate::{
    cluster::store::{
        ObjectChange,
        watch_handle::{WatchContext, WatchHandle},
    },
    controller::KindStates,
    foreign::ChildKind,
    telemetry::{self, Trigger},
};

/// A controller whose kind does not matter.
pub trait AnyController: Send + Sync {
    /// The kind.
    fn kind(&self) -> telemetry::Kind;

    /// The kinds of its children, and of what is watched of theirs.
    fn child_kinds(&self) -> &'static [ChildKind];

    /// Starts the watches of the kind itself, one for each namespace (none: all).
    fn watch(&self, client: &Client, namespaces: &[String], context: &WatchContext) -> Vec<WatchHandle>;

    /// Enqueues the objects that a child's change concerns.
    fn on_child_change(&self, kind: ChildKind, change: &ObjectChange<PartialObjectMeta>);

    /// Enqueues every object of a namespace ("" for all), as after the arrival of an API.
    fn enqueue_all(&self, namespace: &str, trigger: Trigger);

    /// Enqueues the objects whose status the API server has not stored as it was written.
    fn on_crd_change(&self);

    /// Before any worker runs: emits again what a predecessor may not have exported. `exported_until`: up to
    /// then it had exported every span.
    fn prepare_to_lead(&self, exported_until: Option<Timestamp>);

    /// Takes up the work: finds out which Events a predecessor may not have published, and enqueues every object.
    fn on_leadership_acquired(&self) -> BoxFuture<'_, ()>;

    /// Works on `workers` objects at once until `stop` holds true, and then finishes what is in flight.
    fn run_workers(&self, workers: usize, stop: watch::Receiver<bool>) -> BoxFuture<'static, ()>;

    /// How many objects are being reconciled.
    fn in_flight(&self) -> usize;

    /// The objects by state, for the gauges.
    fn states(&self) -> KindStates;
}
