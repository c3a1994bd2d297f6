//! Events as the API server holds them: a thousand failures are one Event with the right count, and few
//! calls.

use std::time::Duration;

use elpio_cluster::Cluster;
use elpio_operator::{
    api::event::NewEvent,
    cluster::events::recorder::{Recorder, Regarding, SERIES_UPDATE_INTERVAL},
    telemetry::{
        Identity, Kind, LogConfig, LogFormat, ObjectReference, Telemetry, TelemetryBuilder, TelemetryConfig,
    },
};
use k8s_openapi::api::events::v1::Event;
use kube::{Api, Client, api::ListParams};

fn silent() -> Telemetry {
    let identity = Identity {
        version: "0",
        revision: "0",
        rustc: "0",
        namespace: None,
        pod_name: None,
        pod_uid: None,
        node_name: None,
        cluster_uid: None,
    };
    let log = LogConfig { filter: "off".into(), format: LogFormat::Json, ansi: false };
    TelemetryBuilder::new(TelemetryConfig::from_env(&|_| None).0, identity)
        .build(&log, std::io::sink)
        .unwrap()
        .0
}

/// A service of this namespace.
pub fn regarding(namespace: String) -> Regarding {
    let object = ObjectReference {
        kind: Kind::ElpioService,
        api_version: "elpio.io/v1alpha1",
        namespace,
        name: "web".into(),
        uid: "11111111-2222-3333-4444-555555555555".into(),
    };
    Regarding { object: object.into(), generation: 1, rebuild: String::new(), since: None, ids: None }
}

async fn recorder() -> (Recorder, Api<Event>, Regarding, String, Client) {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("events").await;
    let client = cluster.client().await;
    let telemetry = silent();
    let recorder = Recorder::new(client.clone(), "test", telemetry.metrics(), telemetry.traces());
    let regarding = Regarding { generation: 3, ..regarding(namespace.clone()) };
    (recorder, Api::namespaced(client.clone(), &namespace), regarding, namespace, client)
}
fn failure(note: &str) -> NewEvent {
    NewEvent {
        type_: "Warning",
        reason: "ReconcileFailed",
        action: "Apply",
        note: note.into(),
        ..NewEvent::default()
    }
}

async fn only(api: &Api<Event>) -> Event {
    let mut all = api.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_failures_cost_few_calls_and_are_all_counted() {
    let (recorder, api, regarding, namespace, _client) = recorder().await;
    let mark = Cluster::shared().await.audit_offset();
    let keeper = tokio::spawn({
        let recorder = recorder.clone();
        async move { recorder.run().await }
    });
    for n in 0..1000 {
        recorder.publish(&regarding, &failure(&format!("attempt {n}"))).await;
    }
    let event = elpio_cluster::eventually(
        "the series is told",
        SERIES_UPDATE_INTERVAL + Duration::from_secs(30),
        async || {
            let event = only(&api).await;
            let count = event.series.as_ref().map_or(1, |s| s.count);
            if count == 1000 { Ok(event) } else { Err(format!("{count} counted")) }
        },
    )
    .await;
    keeper.abort();
    assert_eq!(event.note.as_deref(), Some("attempt 0"), "the note is that of the first occurrence");
    assert_eq!(event.reporting_controller.as_deref(), Some("elpio.io/operator"));
    let calls = Cluster::shared()
        .await
        .audit_since(mark)
        .namespace(&namespace)
        .resource("events.events.k8s.io")
        .filter(|e| e.verb != "list");
    assert!(calls.len() <= 5, "{:?}", calls.count());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_recorder_continues_the_series() {
    let (first, api, regarding, namespace, client) = recorder().await;
    for _ in 0..3 {
        first.publish(&regarding, &failure("no")).await;
    }
    first.flush().await;
    assert_eq!(only(&api).await.series.unwrap().count, 3);
    let telemetry = silent();
    let second = Recorder::new(client, "another", telemetry.metrics(), telemetry.traces());
    second.publish(&regarding, &failure("no")).await;
    let event = only(&api).await;
    assert_eq!(
        (event.series.unwrap().count, event.reporting_instance.as_deref()),
        (4, Some("test")),
        "{namespace}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_before_a_crash_is_not_counted_twice() {
    let (first, api, regarding, _namespace, client) = recorder().await;
    let before = jiff::Timestamp::now();
    first.publish(&regarding, &failure("no")).await;
    let telemetry = silent();
    let second = Recorder::new(client.clone(), "another", telemetry.metrics(), telemetry.traces());
    // The status had not changed since: it is the same occurrence.
    second.publish(&Regarding { since: Some(before), ..regarding.clone() }, &failure("no")).await;
    assert_eq!(only(&api).await.series, None);
    // The status has changed since then: it is another.
    let third = Recorder::new(client, "a third", telemetry.metrics(), telemetry.traces());
    third.publish(&Regarding { since: Some(jiff::Timestamp::now()), ..regarding }, &failure("no")).await;
    assert_eq!(only(&api).await.series.unwrap().count, 2);
}
