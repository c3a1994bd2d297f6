//! What an operator sends over OTLP against `otel/registry/`, both ways: nothing undeclared, and nothing declared that is
//! never sent, but for a list.

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::metrics::v1::{Metric, metric::Data, number_data_point};
use serde_json::Value;

use crate::{
    live_env::{LiveEnv, TIMEOUT},
    load::load,
    registry_files::{Registry, text},
    report::table,
};

/// Declared, and not to be seen in this run: why.
const UNSEEN: &[(&str, &str)] = &[
    ("span task NAME", "the fake engine runs no tasks; tests/engines has Tekton's"),
    ("span.attribute cicd.pipeline.task.name", "as above"),
    ("span.attribute cicd.pipeline.task.run.id", "as above"),
    ("span.attribute cicd.pipeline.task.run.result", "as above"),
    ("span.attribute cicd.pipeline.task.type", "as above"),
    ("span.attribute http.request.method_original", "the operator sends no unknown method"),
    ("resource k8s.node.name", "not in a cluster"),
    ("resource k8s.pod.name", "not in a cluster"),
    ("resource k8s.pod.uid", "not in a cluster"),
    ("resource k8s.namespace.name", "not in a cluster"),
];

/// What was sent, and what of it is not declared.
#[derive(Default)]
struct Seen {
    declared: BTreeSet<String>,
    undeclared: BTreeSet<String>,
    items: usize,
}

impl Seen {
    fn attributes<'a>(
        &mut self,
        registry: &Registry,
        group: &Value,
        what: &str,
        all: impl Iterator<Item = (&'a String, &'a String)>,
    ) {
        for (key, value) in all {
            self.items += 1;
            if registry.allows(group, key, value) {
                self.declared.insert(format!("{what} {key}"));
            } else {
                self.undeclared.insert(format!("{what} {key}={value}"));
            }
        }
    }

    fn spans(&mut self, registry: &Registry, env: &LiveEnv) {
        for span in env.otlp.spans() {
            let Some(group) = registry.span(&span.name) else {
                self.undeclared.insert(format!("span {}", span.name));
                continue;
            };
            if group["span_kind"] != span.kind || !span.events.is_empty() {
                self.undeclared.insert(format!("span {}: kind {}, {:?}", span.name, span.kind, span.events));
            }
            self.declared.insert(format!("span {}", text(&group["annotations"]["elpio"]["name"])));
            self.attributes(registry, group, "span.attribute", span.attributes.iter());
        }
    }

    fn events(&mut self, registry: &Registry, env: &LiveEnv) {
        for log in env.otlp.logs().iter().filter(|log| !log.event_name.is_empty()) {
            let Some(group) = registry.of("event").find(|group| group["name"] == log.event_name) else {
                self.undeclared.insert(format!("event {}", log.event_name));
                continue;
            };
            self.declared.insert(format!("event {}", log.event_name));
            // The record of an exception is a log line too, and has what lines have.
            let own = log
                .attributes
                .iter()
                .filter(|(key, _)| log.event_name != "exception" || key.starts_with("exception."));
            self.attributes(registry, group, &format!("event.attribute {}", log.event_name), own);
        }
    }

    fn metrics(&mut self, registry: &Registry, env: &LiveEnv) {
        for of_resource in env.otlp.metrics() {
            let resource = of_resource.resource.unwrap_or_default();
            let entity = registry.of("entity").next().unwrap().clone();
            let pairs = elpio_cluster::otlp::attributes(resource.attributes);
            self.attributes(registry, &entity, "resource", pairs.iter());
            for metric in of_resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
                self.metric(registry, metric);
            }
        }
    }

    fn metric(&mut self, registry: &Registry, metric: Metric) {
        let Some(group) = registry.of("metric").find(|group| group["metric_name"] == metric.name) else {
            self.undeclared.insert(format!("metric {}", metric.name));
            return;
        };
        let name = metric.name;
        self.declared.insert(format!("metric {name}"));
        let (form, attributes) = points(metric.data);
        let unit = text(&group["annotations"]["elpio"]["sent_unit"]);
        if group["instrument"] != form || unit != metric.unit || group["brief"] != metric.description {
            self.undeclared
                .insert(format!("metric {name}: {form}, unit {:?}, {}", metric.unit, metric.description));
        }
        for pairs in attributes {
            let pairs = elpio_cluster::otlp::attributes(pairs);
            self.attributes(registry, group, &format!("metric.attribute {name}"), pairs.iter());
        }
    }
}

type Pairs = Vec<opentelemetry_proto::tonic::common::v1::KeyValue>;

/// The instrument and the attributes of each point.
fn points(data: Option<Data>) -> (&'static str, Vec<Pairs>) {
    match data {
        Some(Data::Gauge(gauge)) => {
            ("gauge", gauge.data_points.into_iter().map(|point| point.attributes).collect())
        }
        Some(Data::Sum(sum)) => {
            let form = if sum.is_monotonic { "counter" } else { "updowncounter" };
            let valued = |point: &number_data_point::Value| {
                matches!(point, number_data_point::Value::AsInt(_) | number_data_point::Value::AsDouble(_))
            };
            assert!(sum.data_points.iter().all(|point| point.value.as_ref().is_some_and(valued)));
            (form, sum.data_points.into_iter().map(|point| point.attributes).collect())
        }
        Some(Data::Histogram(histogram)) => {
            ("histogram", histogram.data_points.into_iter().map(|point| point.attributes).collect())
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_is_declared_and_what_is_declared_is_sent() {
    let registry = Registry::read();
    let env = LiveEnv::with("registry", &[("OTEL_METRIC_EXPORT_INTERVAL", "500")]).await;
    load(&env).await;
    env.services().delete("two", &kube::api::DeleteParams::default()).await.unwrap();
    env.wait_until_deleted(&env.knative(), "two").await;
    let keda = crate::live_env::with(crate::live_env::image("v1"), &serde_json::json!({"engine": "keda"}));
    env.apply("three", &keda).await;
    env.ready("three").await;
    let missing = |seen: &Seen| -> Vec<String> {
        let unseen: BTreeSet<&str> = UNSEEN.iter().map(|(name, _)| *name).collect();
        registry
            .declared()
            .into_iter()
            .filter(|name| !seen.declared.contains(name) && !unseen.contains(name.as_str()))
            .collect()
    };
    let seen = elpio_cluster::eventually("everything that is declared is sent", TIMEOUT, async || {
        let mut seen = Seen::default();
        seen.spans(&registry, &env);
        seen.events(&registry, &env);
        seen.metrics(&registry, &env);
        let missing = missing(&seen);
        if missing.is_empty() {
            Ok(seen)
        } else {
            Err(format!("never sent: {missing:#?}\nundeclared: {:#?}", seen.undeclared))
        }
    })
    .await;
    assert!(seen.undeclared.is_empty(), "undeclared: {:#?}", seen.undeclared);
    let sent: Vec<&str> =
        UNSEEN.iter().map(|(name, _)| *name).filter(|name| seen.declared.contains(*name)).collect();
    assert!(sent.is_empty(), "sent, and on the list of what is not: {sent:?}");
    let declared = registry.declared();
    let rows: Vec<Vec<String>> = [
        "metric ",
        "metric.attribute ",
        "span ",
        "span.attribute ",
        "event ",
        "event.attribute ",
        "resource ",
    ]
    .into_iter()
    .map(|what| {
        let of =
            |all: &BTreeSet<String>| all.iter().filter(|name| name.starts_with(what)).count().to_string();
        vec![what.trim().to_owned(), of(&declared), of(&seen.declared)]
    })
    .collect();
    let title =
        format!("otel/registry: {} values of attributes were held against it, 0 undeclared", seen.items);
    table(&title, &["what", "declared", "sent"], &rows);
}
