//! Counts the objects for the state gauges, at collection, from the store, so there is no second count to
//! keep in sync. `operator/wiring.rs` registers the gauges and hides them while another process leads;
//! `telemetry/metrics/gauges.rs` exports them.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{
    api::{
        StatusParts,
        condition::{self, StateReason},
    },
    cluster::{ObjectKey, store::ObjectStore},
    controller::kinds::{Kind, Object},
    status::conditions::{find_condition, metric_reason},
    telemetry::{KindCounts, ReadyValue},
};

/// Objects' generations that no status has observed, and since when.
#[derive(Debug, Default)]
pub struct UnsettledGenerations(Mutex<HashMap<ObjectKey, (i64, Instant)>>);

impl UnsettledGenerations {
    /// Records the generation that is not observed yet, or that there is none.
    pub fn observe(&self, key: &ObjectKey, generation: Option<i64>) {
        let mut all = self.0.lock();
        match (generation, all.get(key)) {
            (Some(generation), Some((known, _))) if *known == generation => {}
            (Some(generation), _) => {
                all.insert(key.clone(), (generation, Instant::now()));
            }
            (None, _) => {
                all.remove(key);
            }
        }
    }

    /// The age of the oldest one, zero without any. Skips those in `refused` namespaces.
    pub fn max_age(&self, refused: &[String]) -> Duration {
        let all = self.0.lock();
        let known = all.iter().filter(|(key, _)| !refused.contains(&key.namespace));
        known.map(|(_, (_, since))| since.elapsed()).max().unwrap_or_default()
    }
}

/// The number of objects of a kind in each state, without those in `refused` namespaces.
pub fn kind_counts<K: Kind>(
    store: &ObjectStore<Object<K>>,
    unsettled: &UnsettledGenerations,
    refused: &[String],
) -> KindCounts {
    KindCounts {
        kind: K::KIND,
        by_state: count_by_state::<K>(store, refused),
        unsettled_age: unsettled.max_age(refused),
    }
}

/// Counts the objects of a kind by `ready` value (true, false, unknown) and, if not true, by reason.
fn count_by_state<K: Kind>(
    store: &ObjectStore<Object<K>>,
    refused: &[String],
) -> BTreeMap<(ReadyValue, StateReason), u64> {
    let mut counts = BTreeMap::new();
    let is_refused = |object: &Object<K>| {
        object.metadata.namespace.as_ref().is_some_and(|namespace| refused.contains(namespace))
    };
    for object in store.all().into_iter().filter(|object| !is_refused(object)) {
        let conditions = object.status.as_ref().map_or(&[][..], StatusParts::conditions);
        let ready = match find_condition(conditions, condition::kind::READY).map(|c| c.status.as_str()) {
            Some("True") => ReadyValue::True,
            Some("False") => ReadyValue::False,
            _ => ReadyValue::Unknown,
        };
        let reason = StateReason::parse(metric_reason(conditions)).unwrap_or(StateReason::Unknown);
        *counts.entry((ready, reason)).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_is_that_of_the_generation_not_of_the_last_note() {
        let unsettled = UnsettledGenerations::default();
        let key = |name: &str| ObjectKey { namespace: "ns".into(), name: name.into() };
        assert_eq!(unsettled.max_age(&[]), Duration::ZERO);
        unsettled.observe(&key("a"), Some(1));
        let since = unsettled.0.lock()[&key("a")];
        unsettled.observe(&key("a"), Some(1));
        assert_eq!(unsettled.0.lock()[&key("a")], since);
        unsettled.observe(&key("a"), Some(2));
        assert_eq!(unsettled.0.lock()[&key("a")].0, 2);
        unsettled.observe(&key("a"), None);
        assert_eq!(unsettled.max_age(&[]), Duration::ZERO);
    }
}
