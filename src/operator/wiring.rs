//! Connects the stores to the controllers, and both to the gauges. It starts nothing.

use std::sync::Arc;

use crate::{
    cluster::store::children::{OnAvailabilityChange, OnChildChange},
    operator::Operator,
    telemetry::{ResourceCounts, Trigger},
};

impl Operator {
    /// The handlers for a child's change and for a change in an API's availability. The store that calls them
    /// does not outlive the controllers.
    pub(super) fn change_handlers(&self) -> (OnChildChange, OnAvailabilityChange) {
        let (on_child, on_availability) =
            (Arc::downgrade(&self.controllers), Arc::downgrade(&self.controllers));
        let on_child_change: OnChildChange = Arc::new(move |kind, change| {
            on_child
                .upgrade()
                .iter()
                .flat_map(|all| all.iter())
                .for_each(|c| c.on_child_change(kind, change));
        });
        let on_availability_change: OnAvailabilityChange = Arc::new(move |namespace| {
            let all = on_availability.upgrade();
            all.iter().flat_map(|all| all.iter()).for_each(|c| c.enqueue_all(namespace, Trigger::Dependency));
        });
        (on_child_change, on_availability_change)
    }

    /// Connects the state gauges to the stores, while this process leads.
    pub(super) fn register_state_gauges(&self) {
        let (controllers, leadership) = (self.controllers.clone(), self.leadership.clone());
        self.metrics.resources(move || {
            leadership.is_leading().then(|| ResourceCounts(controllers.iter().map(|c| c.counts()).collect()))
        });
        let watches = self.watches.shared.clone();
        self.metrics.refused_watches(move || watches.refused_watches());
        let leadership = self.leadership.clone();
        self.metrics.leader(move || leadership.is_leading());
    }
}
