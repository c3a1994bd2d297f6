//! With sampling off no id is anywhere: each would point to a trace that nobody has.

use elpio_cluster::eventually;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;

use crate::{backends::Backends, closure::events, live_env::TIMEOUT, load::load};

#[tokio::test(flavor = "multi_thread")]
async fn without_sampling_there_is_no_id_anywhere() {
    let backends = Backends::shared().await;
    let env = backends.env("unsampled", &[("OTEL_TRACES_SAMPLER", "always_off")]).await;
    load(&env).await;

    let events = events(&env).await;
    assert!(!events.is_empty(), "the load has its Events");
    for event in &events {
        assert!(event.annotations().keys().all(|key| !key.contains("trace")), "{:?}", event.annotations());
    }
    for name in ["one", "four"] {
        let object = env.services().get(name).await.unwrap();
        let rollout = object.status.unwrap().rollout.unwrap();
        assert_eq!(rollout.trace_id, None, "{rollout:?}");
    }
    assert!(!env.operator.log().contains("trace_id"), "{}", env.operator.log_tail());
    let page = env.operator.metrics("application/openmetrics-text; version=1.0.0").await;
    assert!(page.ends_with("# EOF\n") && !page.contains("trace_id"), "an exemplar of no span");

    let is_own = |instance: &str| instance == "unsampled";
    let records = eventually("its log records are there", TIMEOUT, async || {
        let mut records = backends.records("logs");
        records.retain(|record| record.resource.get("service.instance.id").is_some_and(|id| is_own(id)));
        if records.iter().any(|record| record.event_name == "k8s.event") {
            Ok(records)
        } else {
            Err(format!("{} records", records.len()))
        }
    })
    .await;
    assert!(
        records.iter().all(|record| record.trace_id.is_empty() && record.span_id.is_empty()),
        "{records:?}"
    );
    let lifted = eventually("every Event is lifted", TIMEOUT, async || {
        let mut lifted = backends.records("events");
        lifted.retain(|record| record.attribute("k8s.namespace.name") == env.namespace);
        let of = |event: &Event| {
            lifted.iter().any(|record| record.body["object"]["metadata"]["name"] == event.name_any())
        };
        let missing: Vec<String> =
            events.iter().filter(|event| !of(event)).map(ResourceExt::name_any).collect();
        if missing.is_empty() {
            Ok(lifted)
        } else {
            Err(format!("{} records, without: {missing:?}", lifted.len()))
        }
    })
    .await;
    assert!(
        lifted.iter().all(|record| record.trace_id.is_empty() && record.span_id.is_empty()),
        "{lifted:?}"
    );
    let spans =
        backends.collector.file("traces").into_iter().filter(|batch| batch.to_string().contains("unsampled"));
    assert_eq!(spans.count(), 0);
}
