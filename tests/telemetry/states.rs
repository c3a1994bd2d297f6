//! The gauges of Elpio's objects: a closed set, shown by the leader.

use std::time::Duration;

use elpio_operator::{
    api::condition::StateReason,
    telemetry::{Kind, KindCounts, ReadyValue, ResourceCounts, catalog::instruments::RESOURCES_BY_STATE},
};

use super::harness::{TelemetryHarness, harness};

fn one(reason: StateReason) -> ResourceCounts {
    let by_state = [((ReadyValue::False, reason), 1), ((ReadyValue::True, StateReason::Reconciled), 3)];
    ResourceCounts(vec![KindCounts {
        kind: Kind::ElpioService,
        by_state: by_state.into(),
        unsettled_age: Duration::from_secs(9),
    }])
}

fn lines(harness: &TelemetryHarness, family: &str) -> Vec<String> {
    harness.page().lines().filter(|line| line.starts_with(family)).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_has_never_led_shows_no_states() {
    let harness = harness();
    harness.telemetry.metrics().resources(|| None);
    harness.telemetry.metrics().leader(|| false);
    for family in ["elpio_services_ready ", "elpio_resources{", "elpio_resources_unsettled_age_seconds{"] {
        assert!(lines(&harness, family).is_empty(), "{family}: {}", harness.page());
    }
    assert_eq!(harness.value("leader_election_master_status{name=\"elpio-operator\"}"), Some(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_state_is_shown_also_one_that_no_object_has() {
    let harness = harness();
    harness.telemetry.metrics().resources(|| Some(one(StateReason::Forbidden)));
    let shown = lines(&harness, "elpio_resources{");
    assert_eq!(shown.len(), RESOURCES_BY_STATE.combinations().len(), "{shown:?}");
    let (set, zero): (Vec<_>, Vec<_>) = shown.into_iter().partition(|line| !line.ends_with(" 0"));
    assert_eq!(
        set,
        [
            "elpio_resources{kind=\"ElpioService\",ready=\"false\",reason=\"Forbidden\"} 1",
            "elpio_resources{kind=\"ElpioService\",ready=\"true\",reason=\"Reconciled\"} 3"
        ],
        "zero: {zero:?}"
    );
    let state = |kind, ready, reason| RESOURCES_BY_STATE.allows(&[kind, ready, reason]);
    assert!(state("ElpioFunction", "false", "BuildFailed") && !state("ElpioService", "false", "BuildFailed"));
    assert!(!state("ElpioService", "true", "Forbidden"), "what is ready has one reason");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_lost_lead_no_sum_doubles() {
    let harness = harness();
    let metrics = harness.telemetry.metrics();
    metrics.resources(|| Some(one(StateReason::Forbidden)));
    assert_eq!(harness.value("elpio_services_ready"), Some(3.0));
    metrics.resources(|| None);
    let families = ["elpio_services_ready ", "elpio_resources{", "elpio_resources_unsettled_age_seconds{"];
    for family in families {
        let shown = lines(&harness, family);
        assert!(!shown.is_empty() && shown.iter().all(|line| line.ends_with(" 0")), "{family}: {shown:?}");
    }
    metrics.resources(|| panic!("a probe that panics"));
    for family in families {
        assert!(lines(&harness, family).is_empty(), "{family}: a panic is no zero");
    }
    assert!(harness.page().contains("elpio_reconcile_total"), "the rest of the page stays");
}
