//! What the collector's file does beside forwarding: Events as records, one reader of several, who may write, whose
//! metrics they are.

use elpio_cluster::{
    Cluster, Collector,
    collector::{CollectorTargets, FILE_EXPORTERS},
    eventually,
};
use k8s_openapi::api::events::v1::Event;
use kube::{Api, ResourceExt, api::PostParams};
use serde_json::json;

use crate::{
    backends::{Backends, Record, records},
    live_env::{LiveEnv, TIMEOUT, image},
    receiving::{END, Pushing, case},
};

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// An Event that somebody lays beside the operator's.
async fn lay(env: &LiveEnv, name: &str, controller: &str, kind: &str) {
    let api: Api<Event> = Api::namespaced(env.client.clone(), &env.namespace);
    let event = json!({"metadata": {"name": name, "annotations": {"elpio.io/traceparent": TRACEPARENT}}, "type": "Warning", "reason": "Ready",
        "action": "Reconcile", "note": "it is not", "eventTime": "2026-01-02T03:04:05.678901Z", "reportingController": controller, "reportingInstance": "x",
        "regarding": {"apiVersion": "elpio.io/v1alpha1", "kind": kind, "namespace": env.namespace, "name": "web"}});
    api.create(&PostParams::default(), &serde_json::from_value(event).unwrap()).await.unwrap();
}

fn named<'a>(all: &'a [Record], namespace: &str, name: &str) -> Vec<&'a Record> {
    let of = |record: &&Record| {
        let metadata = &record.body["object"]["metadata"];
        metadata["namespace"] == namespace && metadata["name"] == name
    };
    all.iter().filter(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_have_a_time_and_a_severity_and_only_the_operators_are_lifted() {
    let backends = Backends::shared().await;
    let env = backends.env("lifted", &[]).await;
    env.apply("web", &image("v1")).await;
    env.ready("web").await;
    let own = env.event("web", "Normal", "Ready").await;
    for (name, controller, kind) in
        [("by-another", "example.com/other", "ElpioService"), ("of-another", "elpio.io/operator", "Pod")]
    {
        lay(&env, name, controller, kind).await;
    }
    let all = eventually("all three Events are records", TIMEOUT, async || {
        let all = backends.records("events");
        let names = [own.name_any(), "by-another".to_owned(), "of-another".to_owned()];
        let missing: Vec<&String> =
            names.iter().filter(|name| named(&all, &env.namespace, name).is_empty()).collect();
        if missing.is_empty() { Ok(all) } else { Err(format!("without {missing:?}")) }
    })
    .await;
    for name in ["by-another", "of-another"] {
        let record = named(&all, &env.namespace, name)[0];
        assert_eq!((record.trace_id.as_str(), record.span_id.as_str()), ("", ""), "{name}");
        assert_eq!((record.severity.as_str(), record.time), ("WARN", 1_767_323_045_678_901_000), "{name}");
    }
    let record = *named(&all, &env.namespace, &own.name_any()).last().unwrap();
    assert_eq!(record.trace_id.len(), 32, "{record:?}");
    let time = own.event_time.unwrap().0.as_nanosecond();
    assert!(record.severity == "INFO" && record.time >= time, "{record:?} {time}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_collectors_with_one_lease_one_reads_events() {
    let kubeconfig = Cluster::shared().await.kubeconfig();
    let targets = CollectorTargets {
        kubeconfig,
        overlays: vec![FILE_EXPORTERS.to_owned()],
        environment: vec![("COLLECTOR_LEASE".to_owned(), "one-of-two".to_owned())],
        ..CollectorTargets::default()
    };
    let (first, second) = tokio::join!(Collector::start(targets.clone()), Collector::start(targets));
    let env = LiveEnv::new("one-reader").await;
    let read = |name: &str| -> [usize; 2] {
        [&first, &second].map(|one| named(&records(one, "events"), &env.namespace, name).len())
    };
    // The first may be laid before a reader has begun; the last is read by whoever reads.
    let count = std::sync::atomic::AtomicU32::new(0);
    eventually("one of them reads", TIMEOUT, async || {
        let name = format!("probe-{}", count.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        lay(&env, &name, "example.com/other", "Pod").await;
        let seen = read("probe-0");
        if seen.iter().sum::<usize>() > 0 { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
    for name in ["a", "b", "c"] {
        lay(&env, name, "example.com/other", "Pod").await;
    }
    eventually("the last is read", TIMEOUT, async || {
        let seen = read("c");
        if seen.iter().sum::<usize>() > 0 { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
    let mut seen = ["a", "b", "c"].map(read);
    for pair in &mut seen {
        pair.sort_unstable();
    }
    assert_eq!(seen, [[0, 1]; 3], "each once, by one of the two");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_asked_to_takes_nothing_without_its_token() {
    let targets = CollectorTargets {
        kubeconfig: Cluster::shared().await.kubeconfig(),
        overlays: vec![FILE_EXPORTERS.to_owned()],
        environment: vec![
            ("COLLECTOR_AUTH".to_owned(), "{authenticator: bearertokenauth}".to_owned()),
            ("COLLECTOR_TOKEN".to_owned(), "s3cret".to_owned()),
        ],
        ..CollectorTargets::default()
    };
    let collector = Collector::start(targets).await;
    let spans =
        |case: &str| collector.file("traces").iter().filter(|batch| batch.to_string().contains(case)).count();
    for (protocol, endpoint) in [("grpc", collector.endpoint()), ("http/protobuf", collector.http_endpoint())]
    {
        let common = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2000"),
        ];
        let token = [("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20s3cret")];
        for (more, arrives) in [(&token[..], true), (&[][..], false)] {
            let case = format!("{}-auth", case());
            let pushing = Pushing::new(&case, &[&common[..], more].concat());
            pushing.reconcile(None, 1).await;
            let reported = pushing.telemetry.shutdown(END).await;
            assert_eq!(reported.is_empty(), arrives, "{protocol} {more:?}: {reported:?}");
            if arrives {
                eventually(
                    "its spans arrive",
                    TIMEOUT,
                    async || if spans(&case) > 0 { Ok(()) } else { Err(0) },
                )
                .await;
            } else {
                assert_eq!(spans(&case), 0, "{protocol}");
            }
        }
    }
}

/// Two clusters push to one Prometheus: their series have the labels that a scrape would set.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_has_the_cluster_and_the_namespace_as_labels() {
    let backends = Backends::shared().await;
    for cluster in ["eu-1", "us-1"] {
        let name = format!("pushed-{cluster}");
        let resource =
            format!("service.instance.id={name},k8s.cluster.name={cluster},k8s.namespace.name=elpio-system");
        let _env = backends.env(&name, &[("OTEL_RESOURCE_ATTRIBUTES", &resource)]).await;
        let query = format!(
            "sum by (cluster, namespace, job) (elpio_build_info{{instance=\"{name}\",job=\"elpio/elpio-operator\"}})"
        );
        let labels = eventually("the pushed series", TIMEOUT, async || {
            let found = backends.prometheus.query(&query).await?;
            found.first().map(|series| series.labels.clone()).ok_or_else(|| "nothing".to_owned())
        })
        .await;
        let expected = [("cluster", cluster), ("job", "elpio/elpio-operator"), ("namespace", "elpio-system")];
        assert_eq!(labels, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    }
}
