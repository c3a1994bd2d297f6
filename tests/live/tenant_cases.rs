//! A platform of several tenants: what a tenant's trace context may decide (`ELPIO_TRACE_PARENT`), and whose budget
//! his quota burns.

use std::collections::{BTreeSet, HashMap};

use elpio_cluster::eventually;
use elpio_operator::{
    api::ElpioService,
    telemetry::{
        Identity, LogConfig, LogFormat, RolloutSeed, Telemetry, TelemetryBuilder, TelemetryConfig, Traces,
    },
};
use k8s_openapi::api::core::v1::ResourceQuota;
use kube::{
    Api, ResourceExt,
    api::{ListParams, PostParams},
};
use serde_json::json;

use crate::live_env::{LiveEnv, TIMEOUT, image, with};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";
const RATIO: [(&str, &str); 2] =
    [("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.1")];

/// The same sampler as the operator's, in this process.
fn sampler(env: &LiveEnv) -> (Telemetry, Traces) {
    let mut variables: HashMap<&str, String> = RATIO.map(|(name, value)| (name, value.to_owned())).into();
    variables.insert("OTEL_EXPORTER_OTLP_ENDPOINT", env.otlp.endpoint());
    let (config, warnings) = TelemetryConfig::from_env(&|name| variables.get(name).cloned());
    assert!(warnings.is_empty(), "{warnings:?}");
    let log = LogConfig { filter: "info".into(), format: LogFormat::Json, ansi: false };
    let builder = TelemetryBuilder::new(config, Identity::default()).with_configured_exporters();
    let (telemetry, _, _) = builder.build(&log, std::io::sink).unwrap();
    let traces = telemetry.traces();
    (telemetry, traces)
}

/// Services, every other with a caller that asks to be sampled, the others with one that asks not to be.
async fn with_callers(env: &LiveEnv, count: usize) -> Vec<ElpioService> {
    for n in 0..count {
        let caller = format!("00-{TRACE}-{SPAN}-0{}", n % 2);
        let annotations = json!({"elpio.io/traceparent": caller, "elpio.io/tracestate": "tenant=a"});
        env.try_apply(&format!("web-{n}"), &image("v1"), &annotations).await.unwrap();
    }
    for n in 0..count {
        env.ready(&format!("web-{n}")).await;
    }
    env.wait_until_idle().await;
    env.services().list(&ListParams::default()).await.unwrap().items
}

/// Neither a span nor the id of a call names the caller's trace.
fn nothing_is_in_the_callers_trace(env: &LiveEnv, mark: u64) {
    let spans = env.otlp.spans();
    assert!(spans.iter().all(|span| span.trace_id != TRACE), "{spans:?}");
    let asked = env.requests_since(mark);
    assert!(!asked.is_empty() && asked.0.iter().all(|entry| !entry.id.starts_with(TRACE)));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_link_a_tenant_decides_nothing_and_is_in_no_trace_of_ours() {
    const COUNT: usize = 100;
    let env = LiveEnv::with("tenant-link", &[RATIO[0], RATIO[1], ("ELPIO_TRACE_PARENT", "link")]).await;
    let mark = env.cluster.audit_offset();
    let services = with_callers(&env, COUNT).await;
    let (_telemetry, traces) = sampler(&env);
    let is_sampled_alone = |service: &ElpioService| {
        let uid = service.uid().unwrap();
        traces
            .begin_rollout(&RolloutSeed { uid: &uid, generation: 1, ..RolloutSeed::default() })
            .ids()
            .is_some()
    };
    let expected: BTreeSet<String> =
        services.iter().filter(|service| is_sampled_alone(service)).map(ResourceExt::name_any).collect();
    let is_sampled = |service: &&ElpioService| {
        service.status.as_ref().and_then(|s| s.rollout.as_ref()).is_some_and(|r| r.trace_id.is_some())
    };
    let sampled: BTreeSet<String> = services.iter().filter(is_sampled).map(ResourceExt::name_any).collect();
    eprintln!("{} of {COUNT} rollouts are sampled at a ratio of 0.1", sampled.len());
    assert_eq!(sampled, expected, "the id of each rollout decides, and no flag of a caller");
    assert!(sampled.len() < COUNT / 3, "{sampled:?}");
    nothing_is_in_the_callers_trace(&env, mark);
    for root in env.otlp.spans().into_iter().filter(|span| span.name == "rollout ElpioService") {
        assert_eq!(root.links, [(TRACE.to_owned(), SPAN.to_owned())], "{root:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_ignore_there_is_not_even_a_link() {
    let env = LiveEnv::with("tenant-ignore", &[("ELPIO_TRACE_PARENT", "ignore")]).await;
    let mark = env.cluster.audit_offset();
    for service in with_callers(&env, 4).await {
        let rollout = service.status.unwrap().rollout.unwrap();
        assert_eq!((rollout.parent, rollout.trace_id.is_some()), (None, true));
    }
    nothing_is_in_the_callers_trace(&env, mark);
    let roots: Vec<_> =
        env.otlp.spans().into_iter().filter(|span| span.name == "rollout ElpioService").collect();
    assert!(roots.iter().all(|root| root.links.is_empty()), "{roots:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_a_quota_refuses_is_no_missed_objective() {
    let env = LiveEnv::with("tenant-quota", &[("ELPIO_ROLLOUT_DEADLINE", "2s")]).await;
    let quotas: Api<ResourceQuota> = Api::namespaced(env.client.clone(), &env.namespace);
    let quota = json!({"metadata": {"name": "none"}, "spec": {"hard": {"count/deployments.apps": "0"}}});
    quotas.create(&PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
    eventually("the quota is in force", TIMEOUT, async || {
        let status = serde_json::to_value(quotas.get("none").await.unwrap().status).unwrap();
        if status["used"]["count/deployments.apps"] == "0" { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    let keda = json!({"engine": "keda", "scaling": {"minScale": 1, "maxScale": 2}});
    env.apply("refused", &with(image("v1"), &keda)).await;
    env.condition("refused", "Reconciled", "False", "ApplyFailed").await;
    env.engine.hold();
    env.apply("hanging", &image("v1")).await;
    let labels = |engine, outcome| [("kind", "ElpioService"), ("engine", engine), ("outcome", outcome)];
    env.wait_for_metric("elpio_rollouts_total", &labels("keda", "author_error"), 1.0).await;
    env.wait_for_metric("elpio_rollouts_total", &labels("knative", "timed_out"), 1.0).await;
    for (engine, outcome) in [("keda", "timed_out"), ("knative", "author_error")] {
        assert_eq!(env.counted("elpio_rollouts_total", &labels(engine, outcome)).await, 0.0, "{engine}");
    }
}
