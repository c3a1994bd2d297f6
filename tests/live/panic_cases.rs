//! A reconcile that panics, against the real API server: an Event says so, and it is tried again. The other
//! signals are those of any failed reconcile, in the suite `telemetry`.

use std::{collections::BTreeMap, sync::Arc};

use elpio_cluster::{Cluster, exposition};
use elpio_operator::{
    api::{ElpioServiceSpec, ElpioServiceStatus, label, policy::TraceParentPolicy},
    cluster::{
        apply::Applier,
        events::recorder::Recorder,
        store::{children::ChildStore, watch_handle::WatchContext},
    },
    controller::{
        Observer, RolloutTelemetry,
        kinds::{Kind, ReconcileContext, SharedDependencies, controller},
    },
    foreign::ChildKind,
    render::{Defaults, Desired, FieldError},
    status::{Observation, StatusInput, StatusUpdate},
    telemetry::{self, Identity, LogConfig, LogFormat, TelemetryBuilder, TelemetryConfig},
};
use jiff::SignedDuration;
use tokio::sync::watch;

use crate::live_env::{LiveEnv, TIMEOUT, image};

const FAULT: &str = "a fault in the code";

/// A kind whose every reconcile panics.
struct Faulty;

impl Kind for Faulty {
    type Spec = ElpioServiceSpec;
    type Status = ElpioServiceStatus;
    type Valid = ();

    const KIND: telemetry::Kind = telemetry::Kind::ElpioService;
    const OWNER_LABEL: &'static str = label::SERVICE;
    const CHILD_KINDS: &'static [ChildKind] = &[];

    fn validate(
        _: &str,
        _: &Self::Spec,
        _: &BTreeMap<String, String>,
        _: Option<&Self::Status>,
        _: &Defaults,
    ) -> Result<(), Vec<FieldError>> {
        panic!("{FAULT}")
    }

    fn render(_: &ReconcileContext<'_>, _: Option<&Self::Status>, (): &()) -> Desired {
        unreachable!("nothing is valid")
    }

    fn compute_status(
        _: &ReconcileContext<'_>,
        _: Option<&Self::Status>,
        _: Observation<'_, ()>,
        _: &StatusInput,
    ) -> StatusUpdate<Self::Status> {
        unreachable!("nothing is valid")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_an_event_and_is_tried_again() {
    // Its own operator has nothing to do.
    let env = LiveEnv::with("panics", &[("ELPIO_NAMESPACES", "nobody-is-here")]).await;
    let (client, leading) = (Cluster::shared().await.client().await, watch::channel(true));
    let log = LogConfig { filter: "off".into(), format: LogFormat::Json, ansi: false };
    let builder =
        TelemetryBuilder::new(TelemetryConfig::off(), Identity::default()).with_metrics_endpoint(true);
    let (telemetry, _, _) = builder.build(&log, std::io::sink).unwrap();
    let (metrics, traces) = (telemetry.metrics(), telemetry.traces());
    let context = WatchContext { shared: Arc::default(), metrics: metrics.clone() };
    let namespaces = [env.namespace.clone()];
    let children = Arc::new(ChildStore::new(client.clone(), &[], &namespaces, context.clone()));
    let rollouts = RolloutTelemetry {
        traces: traces.clone(),
        metrics: metrics.clone(),
        trace_parent: TraceParentPolicy::Join,
    };
    let controller = controller::<Faulty>(&SharedDependencies {
        applier: Applier::new(client.clone(), children.clone(), leading.1.clone()),
        recorder: Recorder::new(client.clone(), "test", metrics, traces),
        observer: Observer::new(rollouts, children, leading.1.clone()),
        defaults: Defaults::default(),
        rollout_deadline: SignedDuration::from_mins(1),
    });
    let _watches = controller.watch(&client, &namespaces, &context);
    let (_stop, stopping) = watch::channel(false);
    let _workers = tokio::spawn(controller.run_workers(1, stopping));
    env.apply("web", &image("v1")).await;

    let event = env.event("web", "Warning", "ReconcileFailed").await;
    let note = event.note.unwrap();
    assert!(note.starts_with("internal: ") && note.contains(FAULT), "{note}");
    elpio_cluster::eventually("it is tried again", TIMEOUT, async || {
        let page = String::from_utf8(telemetry.metrics_endpoint().unwrap().render(None).1).unwrap();
        let labels = [("kind", "ElpioService"), ("error_type", "internal")];
        match exposition::sample(&page, "elpio_reconcile_errors_total", &labels) {
            Some(count) if count >= 2.0 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}
