//! The recorder against the real API server: calls that fail, answers that are lost, namespaces that go away,
//! foreign Events, a lost lead.

use std::time::Duration;

use elpio_cluster::{Cluster, eventually, exposition};
use elpio_operator::{
    api::event::NewEvent,
    cluster::events::{
        object::event_name,
        recorder::{Recorder, Regarding},
    },
    telemetry::{Identity, LogConfig, LogFormat, Telemetry, TelemetryBuilder, TelemetryConfig},
};
use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace},
    events::v1::Event,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    events::regarding,
    fault_proxy::{Fault, FaultProxy, status, writes_event},
    live_env::{TIMEOUT, summary},
};

/// A recorder whose calls go through a proxy, and what it counts.
pub struct Setup {
    pub proxy: FaultProxy,
    pub client: Client,
    pub recorder: Recorder,
    telemetry: Telemetry,
    pub regarding: Regarding,
    pub tasks: JoinSet<()>,
}

impl Setup {
    pub async fn new(name: &str) -> Self {
        let cluster = Cluster::shared().await;
        let namespace = cluster.namespace(name).await;
        let proxy = FaultProxy::start(&cluster.kubeconfig(), None).await;
        let (recorder, telemetry) = recorder(cluster.client_for(proxy.kubeconfig()).await);
        let mut tasks = JoinSet::new();
        let retrying = recorder.clone();
        tasks.spawn(async move { retrying.run().await });
        let regarding = regarding(namespace);
        Self { proxy, client: cluster.client().await, recorder, telemetry, regarding, tasks }
    }

    fn api(&self) -> Api<Event> {
        Api::namespaced(self.client.clone(), &self.regarding.object.namespace)
    }

    pub async fn events(&self) -> Vec<Event> {
        self.api().list(&ListParams::default()).await.unwrap().items
    }

    /// Waits until there is one Event, with that count.
    async fn counted(&self, count: i32) -> Event {
        eventually(&format!("one Event, counted {count} times"), TIMEOUT, async || {
            let events = self.events().await;
            let right = events.len() == 1 && events[0].series.as_ref().map_or(1, |s| s.count) == count;
            if right { Ok(events[0].clone()) } else { Err(summary(&events)) }
        })
        .await
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a counter")]
    fn outcome(&self, outcome: &str) -> u64 {
        let text = String::from_utf8(self.telemetry.metrics_endpoint().unwrap().render(None).1).unwrap();
        let labels = [("type", "Normal"), ("reason", "Ready"), ("outcome", outcome)];
        exposition::sample(&text, "elpio_events_total", &labels).map_or(0, |value| value as u64)
    }
}

fn recorder(client: Client) -> (Recorder, Telemetry) {
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
    let (telemetry, ..) = TelemetryBuilder::new(TelemetryConfig::from_env(&|_| None).0, identity)
        .with_metrics_endpoint(true)
        .build(&log, std::io::sink)
        .unwrap();
    let recorder = Recorder::new(client, "test", telemetry.metrics(), telemetry.traces());
    (recorder, telemetry)
}

pub fn ready() -> NewEvent {
    let (type_, reason, action) = ("Normal", "Ready", "Observe");
    NewEvent { type_, reason, action, note: "it is".into(), ..NewEvent::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_event_is_retried_in_the_background() {
    let setup = Setup::new("event-retry").await;
    let mut refused = 0;
    setup.proxy.set(move |parts| {
        refused += i32::from(writes_event(parts));
        (writes_event(parts) && refused <= 3).then(|| status(403, "Forbidden", "no"))
    });
    let start = std::time::Instant::now();
    setup.recorder.publish(&setup.regarding, &ready()).await;
    assert!(start.elapsed() < Duration::from_secs(1), "no retry holds up the caller");
    assert_eq!((setup.events().await.len(), setup.outcome("failed")), (0, 0));
    setup.recorder.publish(&setup.regarding, &ready()).await;
    setup.counted(2).await;
    eventually("both are counted", TIMEOUT, async || {
        let counts = ["created", "aggregated", "failed", "dropped"].map(|outcome| setup.outcome(outcome));
        if counts == [1, 1, 0, 0] { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_are_held_are_still_written_while_others_come() {
    let setup = Setup::new("event-held").await;
    let _active = setup.recorder.begin_reconcile();
    setup.recorder.hold(TIMEOUT * 2);
    let more = async {
        let mut pause = tokio::time::interval(Duration::from_millis(20));
        for generation in 1.. {
            pause.tick().await;
            setup.recorder.enqueue(&Regarding { generation, ..setup.regarding.clone() }, &ready());
        }
    };
    let written = eventually("three Events", TIMEOUT, async || match setup.events().await.len() {
        3.. => Ok(()),
        other => Err(format!("{other} Events")),
    });
    tokio::select! {
        () = more => unreachable!("it has no end"),
        () = written => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_answer_was_lost_is_counted_once() {
    let setup = Setup::new("event-lost").await;
    let mut lost = false;
    setup.proxy.set(move |parts| {
        let first = writes_event(parts) && !std::mem::replace(&mut lost, true);
        first.then_some(Fault::LoseAnswer)
    });
    setup.recorder.publish(&setup.regarding, &ready()).await;
    eventually("the retry has found it", TIMEOUT, async || match setup.outcome("created") {
        1 => Ok(()),
        other => Err(format!("created: {other}")),
    })
    .await;
    assert_eq!(setup.counted(1).await.series, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_retries_and_counts_what_is_lost() {
    let mut setup = Setup::new("event-flush").await;
    setup.tasks.shutdown().await;
    let mut calls = 0;
    setup.proxy.set(move |parts| {
        calls += i32::from(writes_event(parts));
        (writes_event(parts) && calls <= 2).then(|| status(503, "ServiceUnavailable", "not now"))
    });
    setup.recorder.publish(&setup.regarding, &ready()).await;
    setup.recorder.flush().await;
    assert_eq!((setup.events().await.len(), setup.outcome("created"), setup.outcome("failed")), (1, 1, 0));

    setup.proxy.set(|parts| writes_event(parts).then(|| status(503, "ServiceUnavailable", "no more")));
    let later = Regarding { generation: 2, ..setup.regarding.clone() };
    setup.recorder.publish(&later, &ready()).await;
    setup.recorder.flush().await;
    assert_eq!((setup.events().await.len(), setup.outcome("created"), setup.outcome("failed")), (1, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_under_deletion_loses_no_event() {
    let setup = Setup::new("event-terminating").await;
    let namespace = &setup.regarding.object.namespace;
    // Keeps the namespace from being removed.
    let configs: Api<ConfigMap> = Api::namespaced(setup.client.clone(), namespace);
    let held = json!({"metadata": {"name": "held", "finalizers": ["test.elpio.io/hold"]}});
    configs.create(&PostParams::default(), &serde_json::from_value(held).unwrap()).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(setup.client.clone());
    namespaces.delete(namespace, &DeleteParams::default()).await.unwrap();
    eventually("the API server refuses new objects", TIMEOUT, async || {
        let probe = ConfigMap {
            metadata: kube::api::ObjectMeta { generate_name: Some("p-".into()), ..Default::default() },
            ..ConfigMap::default()
        };
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        match configs.create(&dry_run, &probe).await {
            Err(kube::Error::Api(answer)) if answer.code == 403 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    setup.recorder.publish(&setup.regarding, &ready()).await;
    let nothing = ["created", "aggregated", "failed", "dropped"].map(|outcome| setup.outcome(outcome));
    assert_eq!(nothing, [0; 4], "refused with NamespaceTerminating");

    let release = json!({"metadata": {"finalizers": null}});
    configs.patch("held", &PatchParams::default(), &Patch::Merge(release)).await.unwrap();
    eventually("the namespace is gone", TIMEOUT, async || match namespaces.get_opt(namespace).await {
        Ok(None) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    setup.recorder.publish(&setup.regarding, &ready()).await;
    setup.recorder.flush().await;
    let nothing = ["created", "aggregated", "failed", "dropped"].map(|outcome| setup.outcome(outcome));
    assert_eq!(nothing, [0; 4], "refused with 404");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_event_under_our_name_is_left_alone() {
    let setup = Setup::new("event-foreign").await;
    let name = event_name(&setup.regarding, &ready());
    let foreign = |controller: &str, uid: &str| {
        let event = json!({"metadata": {"name": name}, "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal", "reason": "Ready",
            "action": "Observe", "note": "not from Elpio", "reportingController": controller, "reportingInstance": "x",
            "regarding": {"apiVersion": "elpio.io/v1alpha1", "kind": "ElpioService", "name": "web",
                "namespace": setup.regarding.object.namespace, "uid": uid}});
        serde_json::from_value::<Event>(event).unwrap()
    };
    for (controller, uid) in
        [("else.example.com/x", setup.regarding.object.uid.as_str()), ("elpio.io/operator", "another-uid")]
    {
        let laid = setup.api().create(&PostParams::default(), &foreign(controller, uid)).await.unwrap();
        let (recorder, _telemetry) = recorder(setup.client.clone());
        for _ in 0..2 {
            recorder.publish(&setup.regarding, &ready()).await;
        }
        // Another process finds ours.
        let (restarted, _telemetry) = self::recorder(setup.client.clone());
        restarted.publish(&setup.regarding, &ready()).await;
        let found = setup.api().get(&name).await.unwrap();
        assert_eq!(found.resource_version(), laid.resource_version(), "{controller}: nothing was written");
        let own = setup.api().get(&format!("{name}-1")).await.unwrap();
        assert_eq!(own.series.map(|series| series.count), Some(3), "{controller}");
        assert_eq!(own.reporting_controller.as_deref(), Some("elpio.io/operator"));
        for name in [&name, &format!("{name}-1")] {
            setup.api().delete(name, &DeleteParams::default()).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_after_the_lead_is_lost() {
    let setup = Setup::new("event-lead").await;
    let (leading, is_leading) = watch::channel(false);
    setup.recorder.require_leadership(is_leading);
    setup.recorder.publish(&setup.regarding, &ready()).await;
    assert_eq!(setup.events().await.len(), 0, "it does not lead yet");
    leading.send_replace(true);
    setup.proxy.set(|parts| writes_event(parts).then(|| status(503, "ServiceUnavailable", "not now")));
    setup.recorder.publish(&setup.regarding, &ready()).await;
    leading.send_replace(false);
    setup.proxy.clear();
    setup.recorder.flush().await;
    assert_eq!(setup.events().await.len(), 0, "the retry belongs to the next leader");
    assert_eq!(setup.outcome("failed"), 1, "which may come too late for it");
    leading.send_replace(true);
    setup.recorder.publish(&setup.regarding, &ready()).await;
    setup.counted(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transition_published_again_neither_doubles_nor_counts_up() {
    let setup = Setup::new("event-again").await;
    let stored = jiff::Timestamp::now();
    setup.recorder.publish(&setup.regarding, &ready()).await;
    let again = Regarding { since: Some(stored), ..setup.regarding.clone() };
    setup.recorder.publish(&again, &ready()).await;
    recorder(setup.client.clone()).0.publish(&again, &ready()).await;
    assert_eq!(setup.counted(1).await.series, None);
    let later = Regarding { since: Some(jiff::Timestamp::now()), ..again };
    setup.recorder.publish(&later, &ready()).await;
    setup.counted(2).await;
}
