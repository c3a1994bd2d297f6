//! A namespace of a test's own, and what a user does there: apply, look, wait. Judges nothing.

use std::{collections::BTreeMap, time::Duration};

use elpio_cluster::{Audit, eventually, wait_for_object};
use elpio_operator::api::{ElpioFunction, ElpioService, condition::Condition};
use k8s_openapi::api::events::v1::Event;
use kube::{
    Client,
    api::{Api, ListParams, Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::e2e_env::{E2eEnv, env};

/// What takes 2 s on a quiet machine.
pub const TIMEOUT: Duration = Duration::from_mins(2);

pub struct Environment {
    pub env: &'static E2eEnv,
    pub client: Client,
    pub namespace: String,
}

impl Environment {
    pub async fn new(name: &str) -> Self {
        let env = env().await;
        Self { env, client: env.cluster.client().await, namespace: env.cluster.namespace(name).await }
    }

    pub fn services(&self) -> Api<ElpioService> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn functions(&self) -> Api<ElpioFunction> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Objects of any kind.
    pub fn any(&self, api_version: &str, kind: &str) -> Api<DynamicObject> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    pub fn knative(&self) -> Api<DynamicObject> {
        self.any("serving.knative.dev/v1", "Service")
    }

    pub fn deployments(&self) -> Api<DynamicObject> {
        self.any("apps/v1", "Deployment")
    }

    pub fn scaled_objects(&self) -> Api<DynamicObject> {
        self.any("keda.sh/v1alpha1", "ScaledObject")
    }

    /// What a user would do with kubectl.
    pub async fn apply(&self, kind: &str, name: &str, spec: &Value) {
        let object = json!({"apiVersion": "elpio.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        self.any("elpio.io/v1alpha1", kind)
            .patch(name, &PatchParams::apply("test").force(), &Patch::Apply(object))
            .await
            .unwrap();
    }

    /// Waits until a condition of a service is so, for its current generation.
    pub async fn condition(&self, name: &str, kind: &str, is: impl Fn(&Condition) -> bool) -> Condition {
        eventually(&format!("{name}: {kind}"), TIMEOUT, async || {
            let object = self.services().get(name).await.map_err(|error| error.to_string())?;
            let status = object.status.unwrap_or_default();
            let found = status
                .conditions
                .iter()
                .find(|it| it.type_ == kind && it.observed_generation == object.metadata.generation);
            found.filter(|it| is(it)).cloned().ok_or_else(|| serde_json::to_string_pretty(&status).unwrap())
        })
        .await
    }

    /// Waits until a service is ready for its current generation.
    pub async fn ready(&self, name: &str) -> ElpioService {
        self.condition(name, "Ready", |it| it.status == "True").await;
        self.services().get(name).await.unwrap()
    }

    /// Waits until an object is as `wanted` says.
    pub async fn object(
        &self,
        api: &Api<DynamicObject>,
        name: &str,
        what: &str,
        wanted: impl Fn(&DynamicObject) -> bool,
    ) -> DynamicObject {
        wait_for_object(api, name, what, TIMEOUT, wanted).await
    }

    /// Waits until there is no object of these kinds here.
    pub async fn none_left(&self, kinds: &[(&str, &str)]) {
        for (version, kind) in kinds {
            let api = self.any(version, kind);
            eventually(&format!("no {kind} is left"), TIMEOUT, async || {
                let left = api.list(&ListParams::default()).await.map_err(|error| error.to_string())?.items;
                if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
            })
            .await;
        }
    }

    pub async fn wait_until_deleted(&self, api: &Api<DynamicObject>, name: &str) {
        elpio_cluster::wait_until_deleted(api, name, TIMEOUT).await;
    }

    /// What the operator asked of the API server here since `mark`.
    pub fn requests_since(&self, mark: u64) -> Audit {
        self.env.cluster.audit_since(mark).user_agent("elpio-operator").namespace(&self.namespace)
    }

    /// The Events of an object, oldest first.
    pub async fn events(&self, kind: &str, name: &str) -> Vec<Event> {
        let all = Api::<Event>::namespaced(self.client.clone(), &self.namespace)
            .list(&ListParams::default())
            .await
            .unwrap()
            .items;
        let own = |event: &Event| {
            event.reporting_controller.as_deref() == Some("elpio.io/operator")
                && event
                    .regarding
                    .as_ref()
                    .is_some_and(|it| it.name.as_deref() == Some(name) && it.kind.as_deref() == Some(kind))
        };
        let mut own: Vec<Event> = all.into_iter().filter(own).collect();
        own.sort_by_key(|event| event.event_time.clone().map(|time| time.0));
        own
    }

    /// How often each `type reason` was said; waits until they are as expected, since an Event follows the
    /// status by a moment.
    pub async fn expect_events(&self, kind: &str, name: &str, expected: &[(&str, i32)]) {
        let expected: BTreeMap<String, i32> =
            expected.iter().map(|(what, count)| ((*what).to_owned(), *count)).collect();
        eventually(&format!("the Events of {name}"), TIMEOUT, async || {
            let events = self.events(kind, name).await;
            let mut reported = BTreeMap::new();
            for event in &events {
                let count = event.series.as_ref().map_or(1, |series| series.count);
                *reported
                    .entry(format!("{} {}", text(event.type_.as_ref()), text(event.reason.as_ref())))
                    .or_default() += count;
            }
            if reported == expected {
                Ok(())
            } else {
                Err(format!("{reported:?}, expected {expected:?}\n{}", notes(&events)))
            }
        })
        .await;
    }
}

fn text(field: Option<&String>) -> &str {
    field.map_or("", String::as_str)
}

/// A line for each.
pub fn notes(events: &[Event]) -> String {
    let line = |it: &Event| {
        format!("{} {}: {}", text(it.type_.as_ref()), text(it.reason.as_ref()), text(it.note.as_ref()))
    };
    events.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// `base` with the fields of `more` laid over it.
pub fn with(base: &Value, more: &Value) -> Value {
    let mut all = base.clone();
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}

/// The spec of a service that runs this image.
pub fn image(repository: &str, tag: &str) -> Value {
    json!({"image": {"repository": format!("registry.example/{repository}"), "tag": tag}})
}

/// A condition that an engine wrote.
pub fn engine_condition(object: &DynamicObject, kind: &str) -> Value {
    let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().find(|it| it["type"] == kind).cloned().unwrap_or_default()
}
