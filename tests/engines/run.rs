//! A run as the operator would make it, made by hand. Judges nothing.

use std::time::Duration;

use elpio_cluster::{Cluster, Engines, eventually};
use elpio_operator::{
    api::{self, ElpioFunction, label},
    render::{self, Defaults, Owner, ValidFunction},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Client,
    api::{Api, ListParams, Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::ENGINES;

/// What takes 2 s on a quiet machine.
pub const TIMEOUT: Duration = Duration::from_mins(1);

/// The cluster that all tests share, with its engines.
pub async fn cluster() -> &'static Cluster {
    static ENGINES_RUN: OnceCell<Engines> = OnceCell::const_new();
    let cluster = Cluster::shared().await;
    ENGINES_RUN.get_or_init(|| Engines::start(cluster, &ENGINES)).await;
    cluster
}

/// A run in a namespace of its own.
pub struct Run {
    pub client: Client,
    pub namespace: String,
    pub name: String,
    pub function: ValidFunction,
}

/// A function with these fields in place of its own.
pub fn spec(changes: &Value) -> Value {
    let mut spec = json!({
        "source": {"git": {"url": "https://git.example/shop/cart.git", "revision": "v1", "subPath": "functions/cart"}},
        "runtime": "python",
        "image": "registry.example/shop/cart",
        "entrypoint": "python main.py --greeting \"$(date)\"",
    });
    for (name, value) in changes.as_object().unwrap() {
        spec[name] = value.clone();
    }
    spec
}

impl Run {
    /// Creates the function (nobody looks after it), and the run that is rendered for it, with these
    /// annotations more.
    pub async fn create(changes: &Value, annotations: &Value) -> Self {
        let namespace = cluster().await.namespace("build").await;
        Self::create_in(namespace, changes, annotations).await
    }

    /// The same in this namespace.
    pub async fn create_in(namespace: String, changes: &Value, annotations: &Value) -> Self {
        let client = cluster().await.client().await;
        let functions: Api<ElpioFunction> = Api::namespaced(client.clone(), &namespace);
        let object = ElpioFunction::new("cart", serde_json::from_value(spec(changes)).unwrap());
        let object = functions.create(&PostParams::default(), &object).await.unwrap();
        let function = render::validate_function("cart", &object.spec, None, &Defaults::default()).unwrap();
        let owner = Owner {
            api_version: api::API_VERSION,
            kind: "ElpioFunction",
            namespace: &namespace,
            name: "cart",
            uid: object.metadata.uid.as_deref().unwrap(),
            label: (label::FUNCTION, "cart"),
            build: None,
        };
        let build = function.first_build();
        let mut manifest = render::pipeline_run(&owner, &function, &build, &Defaults::default()).manifest();
        let all = manifest["metadata"]["annotations"].as_object_mut().unwrap();
        all.extend(annotations.as_object().unwrap().clone());
        let run = Self { client, namespace, name: build.name, function };
        run.api("PipelineRun")
            .create(&PostParams::default(), &serde_json::from_value(manifest).unwrap())
            .await
            .unwrap();
        run
    }

    /// One of Tekton's kinds.
    fn api(&self, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("tekton.dev", "v1", kind));
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    /// Waits until it has ended; answers its status.
    pub async fn ended(&self) -> Value {
        let runs = self.api("PipelineRun");
        eventually(&format!("{} has ended", self.name), TIMEOUT, async || {
            let status =
                runs.get(&self.name).await.map_err(|error| error.to_string())?.data["status"].clone();
            if ["True", "False"].contains(&succeeded(&status)["status"].as_str().unwrap_or_default()) {
                Ok(status)
            } else {
                Err(status.to_string())
            }
        })
        .await
    }

    /// Waits until a pod of that task runs.
    pub async fn runs(&self, task: &str) {
        let labels = ListParams::default().labels(&self.labels(task));
        eventually(&format!("{task} runs"), TIMEOUT, async || {
            let pods = self.pods().list(&labels).await.map_err(|error| error.to_string())?.items;
            let phases: Vec<_> = pods.into_iter().filter_map(|pod| pod.status?.phase).collect();
            if phases.iter().any(|phase| phase == "Running") { Ok(()) } else { Err(format!("{phases:?}")) }
        })
        .await;
    }

    /// Sets `spec.status`.
    pub async fn set_status(&self, status: &str) {
        let patch = Patch::Merge(json!({"spec": {"status": status}}));
        self.api("PipelineRun").patch(&self.name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// The status of the task's `TaskRun`, when there is one.
    pub async fn task(&self, task: &str) -> Option<Value> {
        let found =
            self.api("TaskRun").list(&ListParams::default().labels(&self.labels(task))).await.unwrap();
        assert!(found.items.len() < 2, "{found:?}");
        found.items.first().map(|run| run.data["status"].clone())
    }

    /// The pods of its namespace.
    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// What selects the pod, or the `TaskRun`, of a task.
    pub fn labels(&self, task: &str) -> String {
        format!("tekton.dev/pipelineRun={},tekton.dev/pipelineTask={task}", self.name)
    }
}

/// The condition that says how a run or a task ended.
pub fn succeeded(status: &Value) -> Value {
    let conditions = status["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Succeeded")
        .cloned()
        .unwrap_or_default()
}
