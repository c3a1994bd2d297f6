//! The instruments, on the page and pushed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use elpio_operator::{
    api::{
        BuildResult, Engine, RolloutOutcome,
        condition::StateReason,
        event::{EventReason, EventType},
    },
    telemetry::{
        ErrorType, EventOutcome, Kind, KindCounts, Metrics, QueueStats, ReadyValue, ResourceCounts,
        RolloutSeed, SpanParent, TelemetryBuilder,
        catalog::instruments::{AllowedValues, INSTRUMENTS, InstrumentKind},
    },
};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics, ScopeMetrics};

use super::harness::{TelemetryHarness, config, failed, harness, identity, log, wrote};

/// Something in every instrument.
pub async fn used() -> TelemetryHarness {
    let harness = harness();
    let metrics = harness.telemetry.metrics();
    for kind in Kind::ALL {
        let queue = metrics.queue(kind, || QueueStats {
            depth: 3,
            unfinished: Duration::from_secs(2),
            longest: Duration::from_secs(1),
        });
        queue.added();
        queue.retried();
        queue.dequeued(Duration::from_millis(1));
        queue.worked(Duration::from_millis(20));
    }
    metrics.leader(|| true);
    metrics.refused_watches(|| vec![("team-a".into(), 2)]);
    let (ready, waiting) = (StateReason::Reconciled, StateReason::EngineNotReady);
    let states = [((ReadyValue::True, ready), 4), ((ReadyValue::False, waiting), 1)];
    metrics.resources(move || {
        Some(ResourceCounts(vec![KindCounts {
            kind: Kind::ElpioService,
            by_state: states.into(),
            unsettled_age: Duration::from_secs(9),
        }]))
    });
    let (engine, outcome) = (Some(Engine::Knative), RolloutOutcome::Ready);
    metrics.rollout_ended(Kind::ElpioService, engine, outcome, Duration::from_secs(3), None);
    metrics.workers(Kind::ElpioService, 16);
    metrics.workers(Kind::ElpioFunction, 16);
    metrics.build_ended(BuildResult::Success, Duration::from_secs(70));
    metrics.event(EventType::Normal, EventReason::Ready, EventOutcome::Created);
    let rollout = harness.telemetry.traces().begin_rollout(&RolloutSeed {
        uid: "uid-1",
        generation: 7,
        rebuild: "",
        parent: None,
        tracestate: None,
    });
    harness.reconcile(SpanParent::InRollout(rollout), async { wrote() }).await;
    harness.reconcile(SpanParent::AfterRollout(None), async { failed(ErrorType::Forbidden) }).await;
    harness
}

/// Family → type, help.
fn families(page: &str) -> BTreeMap<String, (String, String)> {
    let mut found: BTreeMap<String, (String, String)> = BTreeMap::new();
    for line in page.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                found.entry(name.into()).or_default().0 = kind.into();
            }
            (Some("#"), Some("HELP"), Some(name), Some(help)) => {
                found.entry(name.into()).or_default().1 = help.into();
            }
            _ => {}
        }
    }
    found
}

/// Series of the page: name, labels.
fn series(page: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let labels = |text: &str| {
        let pairs = text.trim_end_matches('}').split("\",").filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| pair.split_once("=\"").unwrap())
            .map(|(k, v)| (k.to_owned(), v.trim_end_matches('"').to_owned()))
            .collect()
    };
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap().0)
        .map(|series| {
            series
                .split_once('{')
                .map_or((series.to_owned(), BTreeMap::new()), |(name, rest)| (name.to_owned(), labels(rest)))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_three_that_users_depend_on_are_exactly_these() {
    let harness = used().await;
    let page = harness.page();
    for line in [
        "# TYPE elpio_reconcile_total counter",
        "# TYPE elpio_reconcile_duration_seconds histogram",
        "# TYPE elpio_services_ready gauge",
        "elpio_reconcile_total{kind=\"ElpioService\",result=\"success\"} 1",
        "elpio_reconcile_total{kind=\"ElpioService\",result=\"error\"} 1",
        "elpio_reconcile_total{kind=\"ElpioFunction\",result=\"success\"} 0",
        "elpio_reconcile_total{kind=\"ElpioFunction\",result=\"error\"} 0",
        "elpio_reconcile_duration_seconds_count{kind=\"ElpioService\"} 2",
        "elpio_reconcile_duration_seconds_bucket{kind=\"ElpioService\",le=\"+Inf\"} 2",
        "elpio_services_ready 4",
        "workqueue_depth{name=\"ElpioService\"} 3",
        "workqueue_adds_total{name=\"ElpioFunction\"} 1",
        "leader_election_master_status{name=\"elpio-operator\"} 1",
        "elpio_watch_refused{scope=\"team-a\"} 2",
        "elpio_build_info{revision=\"abc\",rustc=\"1.95\",version=\"1.2.3\"} 1",
        "elpio_resources{kind=\"ElpioService\",ready=\"false\",reason=\"EngineNotReady\"} 1",
        "elpio_events_total{outcome=\"created\",reason=\"Ready\",type=\"Normal\"} 1",
        "elpio_apply_total{child=\"KnativeService\",kind=\"ElpioService\",outcome=\"changed\"} 1",
        "elpio_rollouts_total{engine=\"knative\",kind=\"ElpioService\",outcome=\"ready\"} 1",
        "elpio_rollouts_total{engine=\"keda\",kind=\"ElpioService\",outcome=\"timed_out\"} 0",
        "elpio_rollouts_total{engine=\"none\",kind=\"ElpioFunction\",outcome=\"ready\"} 0",
        "elpio_builds_total{result=\"success\"} 1",
        "elpio_builds_total{result=\"timeout\"} 0",
        "elpio_workers{kind=\"ElpioService\"} 16",
        "elpio_reconcile_errors_total{error_type=\"forbidden\",kind=\"ElpioService\"} 1",
        "elpio_reconcile_errors_total{error_type=\"throttled\",kind=\"ElpioFunction\"} 0",
    ] {
        assert!(page.lines().any(|found| found == line), "no {line:?} in\n{page}");
    }
    // How many are in it depends on the machine.
    let first = "elpio_reconcile_duration_seconds_bucket{kind=\"ElpioService\",le=\"0.005\"} ";
    assert!(page.contains(first), "no {first:?} in\n{page}");
    assert!(!page.contains("otel_scope_"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_the_instruments_of_the_table_and_no_others() {
    let harness = used().await;
    let page = harness.page();
    let found = families(&page);
    for row in INSTRUMENTS {
        // Made by calls and watches alone, which other tests make.
        if ["http_client_request_duration_seconds", "elpio_watch_age_seconds"].contains(&row.prometheus_name)
        {
            continue;
        }
        let (kind, help) =
            found.get(row.prometheus_name).unwrap_or_else(|| panic!("no {} in\n{page}", row.prometheus_name));
        let expected = match row.kind {
            InstrumentKind::Counter | InstrumentKind::ObservableCounter => "counter",
            InstrumentKind::Histogram => "histogram",
            _ => "gauge",
        };
        assert_eq!((kind.as_str(), help.as_str()), (expected, row.description), "{}", row.prometheus_name);
    }
    let known: BTreeSet<&str> =
        INSTRUMENTS.iter().map(|row| row.prometheus_name).chain(["target_info"]).collect();
    for family in found.keys() {
        assert!(known.contains(family.as_str()), "{family} is not in the table");
    }
    for (name, labels) in series(&page) {
        let family = |name: &str| INSTRUMENTS.iter().find(|row| row.prometheus_name == name);
        let stripped =
            ["_bucket", "_sum", "_count"].iter().find_map(|suffix| family(name.strip_suffix(suffix)?));
        let Some(row) = family(&name).or(stripped) else { continue };
        for (key, value) in labels.iter().filter(|(key, _)| *key != "le") {
            let attribute = row
                .attributes
                .iter()
                .find(|a| a.key.replace('.', "_") == *key)
                .unwrap_or_else(|| panic!("{name}: {key}"));
            if let AllowedValues::Closed(set) = attribute.values {
                assert!(set.contains(&value.as_str()), "{name}: {key}={value}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_closed_counter_starts_at_zero() {
    let harness = harness();
    let page = harness.page();
    let all = series(&page);
    for row in INSTRUMENTS.iter().filter(|row| {
        matches!(
            row.kind,
            InstrumentKind::Counter | InstrumentKind::UpDownCounter | InstrumentKind::ObservableCounter
        )
    }) {
        for values in row.combinations() {
            let labels: BTreeMap<String, String> = row
                .attributes
                .iter()
                .zip(values)
                .map(|(a, v)| (a.key.replace('.', "_"), v.to_owned()))
                .collect();
            assert!(
                all.iter().any(|(name, found)| name == row.prometheus_name && *found == labels),
                "no {} {labels:?}",
                row.prometheus_name
            );
        }
    }
    let zero = page.lines().filter(|line| line.starts_with("elpio_") && line.contains("_total{"));
    assert!(zero.clone().count() > 100);
    for line in zero.filter(|line| !line.starts_with("elpio_telemetry_")) {
        assert!(line.ends_with(" 0"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn push_and_page_agree() {
    let harness = used().await;
    harness.telemetry.flush();
    let page = harness.page();
    let pushed = harness.metrics.get_finished_metrics().unwrap();
    let mut names = BTreeSet::new();
    for metric in pushed.iter().flat_map(ResourceMetrics::scope_metrics).flat_map(ScopeMetrics::metrics) {
        let row = INSTRUMENTS
            .iter()
            .find(|row| row.name == metric.name())
            .unwrap_or_else(|| panic!("{}", metric.name()));
        assert_eq!((metric.unit(), metric.description()), (row.unit, row.description), "{}", row.name);
        names.insert(row.name);
        let AggregatedMetrics::U64(MetricData::Sum(sum)) = metric.data() else { continue };
        assert!(sum.is_monotonic());
        for point in sum.data_points().filter(|_| !row.volatile) {
            let mut labels: Vec<String> = point
                .attributes()
                .map(|kv| format!("{}=\"{}\"", kv.key.as_str().replace('.', "_"), kv.value))
                .collect();
            labels.sort();
            let line = format!("{}{{{}}} {}", row.prometheus_name, labels.join(","), point.value());
            assert!(page.lines().any(|found| found == line), "no {line}");
        }
    }
    for row in INSTRUMENTS {
        let by_others = ["http.client.request.duration", "elpio.watch.age"].contains(&row.name);
        assert!(by_others || names.contains(row.name), "{} is not pushed", row.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_page_and_push_nothing_is_kept() {
    let (telemetry, _, warnings) = TelemetryBuilder::new(config(&[]), identity())
        .with_configured_exporters()
        .build(&log("info"), std::io::sink)
        .unwrap();
    assert!(warnings.is_empty() && telemetry.metrics_endpoint().is_none());
    let metrics = telemetry.metrics();
    assert_eq!(
        format!("{metrics:?}"),
        format!("{:?}", Metrics::default()).replace("propagate: false", "propagate: true")
    );
    metrics.queue(Kind::ElpioService, || panic!("nobody asks")).added();
    metrics.event(EventType::Normal, EventReason::Ready, EventOutcome::Created);
    let rollout = telemetry.traces().begin_rollout(&RolloutSeed {
        uid: "u",
        generation: 1,
        rebuild: "",
        parent: None,
        tracestate: None,
    });
    assert_eq!(rollout.ids(), None, "no exporter, no id");
    let before = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let seed = RolloutSeed { uid: "u", generation: 1, rebuild: "", parent: Some(before), tracestate: None };
    assert_eq!(telemetry.traces().begin_rollout(&seed).ids(), None, "not for a caller either");
    assert_eq!(
        telemetry.traces().resume_rollout(Some(before), &seed).ids(),
        None,
        "nor for what was sampled before a restart"
    );
    assert!(telemetry.shutdown(Duration::from_secs(1)).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn disabled_means_disabled() {
    let builder = TelemetryBuilder::new(config(&[("OTEL_SDK_DISABLED", "true")]), identity())
        .with_metrics_endpoint(true)
        .with_configured_exporters();
    let (telemetry, _, warnings) = builder.build(&log("info"), std::io::sink).unwrap();
    assert!(telemetry.metrics_endpoint().is_none());
    assert!(
        warnings.len() == 1
            && warnings[0].contains("OTEL_SDK_DISABLED")
            && warnings[0].contains("ELPIO_METRICS"),
        "{warnings:?}"
    );
}
