//! Reads objects, their children and their Events from the API server. I/O; it computes nothing.

use k8s_openapi::api::core::v1::Event;
use kube::{
    Api, Client,
    api::ListParams,
    core::{ApiResource, DynamicObject},
};
use serde_json::Value;

use crate::{
    cluster::{
        client::call::{ApiCall, ApiError, call_with_timeout, classify, with_timeout},
        events::object::CONTROLLER,
    },
    foreign::{
        ChildKind,
        fields::{list, text},
        group_resource,
    },
    plugin::{
        argument::{ObjectArgument, OwnKind},
        timeline::TimelineInputs,
    },
};

/// Why there is nothing to show, as one line.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The API server does not serve Elpio's kinds.
    #[error(
        "Elpio is not installed in this cluster: {0} is not served (elpio-operator crds | kubectl apply --server-side -f -)"
    )]
    NotInstalled(String),
    /// There is no such object.
    #[error("there is no {kinds} {name} in namespace {namespace}")]
    NoObject {
        /// The kinds that were tried.
        kinds: &'static str,
        /// The name.
        name: String,
        /// The namespace.
        namespace: String,
    },
    /// A call failed.
    #[error(transparent)]
    Call(#[from] ApiError),
}

/// Reads from one cluster, in one namespace or all.
#[derive(Clone)]
pub struct Reader {
    client: Client,
    namespace: Option<String>,
}

impl Reader {
    /// A reader for `namespace`; `None`: all.
    pub fn new(client: Client, namespace: Option<String>) -> Self {
        Self { client, namespace }
    }

    /// The scope, for messages.
    pub fn scope_phrase(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("in namespace {namespace}"),
            None => "in this cluster".to_owned(),
        }
    }

    fn api(&self, resource: &ApiResource) -> Api<DynamicObject> {
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, resource),
            None => Api::all_with(self.client.clone(), resource),
        }
    }

    fn call(&self, verb: &'static str, resource: &ApiResource, name: &str) -> ApiCall {
        let namespace = self.namespace.as_deref().unwrap_or_default();
        ApiCall::new(verb, group_resource(&resource.plural, &resource.group), namespace, name)
    }

    /// One object; `None` if it does not exist.
    async fn get(&self, resource: &ApiResource, name: &str) -> Result<Option<Value>, FetchError> {
        let call = self.call("get", resource, name);
        // `call_with_timeout` would classify the 404 before this code can inspect its details.
        match with_timeout(&call, self.api(resource).get(name)).await? {
            Ok(found) => Ok(Some(as_json(&found, resource))),
            Err(kube::Error::Api(status)) if status.code == 404 => {
                let is_about_it = status.details.as_ref().is_some_and(|details| details.name == name);
                // The resource itself is unknown.
                if is_about_it { Ok(None) } else { Err(FetchError::NotInstalled(call.resource)) }
            }
            Err(error) => Err(classify(call, &error).into()),
        }
    }

    async fn list(&self, resource: &ApiResource) -> Result<Vec<Value>, FetchError> {
        let call = self.call("list", resource, "");
        match with_timeout(&call, self.api(resource).list(&ListParams::default())).await? {
            Ok(found) => Ok(found.items.iter().map(|object| as_json(object, resource)).collect()),
            Err(kube::Error::Api(status)) if status.code == 404 => {
                Err(FetchError::NotInstalled(call.resource))
            }
            Err(error) => Err(classify(call, &error).into()),
        }
    }

    /// The object for an argument. Prefers a function over a service, which the function publishes under the
    /// same name.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn find(&self, argument: &ObjectArgument) -> Result<(OwnKind, Value), FetchError> {
        let (kinds, tried) = match argument.kind {
            Some(OwnKind::Function) => ("ElpioFunction", vec![OwnKind::Function]),
            Some(OwnKind::Service) => ("ElpioService", vec![OwnKind::Service]),
            None => ("ElpioFunction or ElpioService", vec![OwnKind::Function, OwnKind::Service]),
        };
        for kind in tried {
            if let Some(found) = self.get(&kind.resource(), &argument.name).await? {
                return Ok((kind, found));
            }
        }
        Err(FetchError::NoObject {
            kinds,
            name: argument.name.clone(),
            namespace: self.namespace.clone().unwrap_or_default(),
        })
    }

    /// Every object of both kinds, functions first.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn all(&self) -> Result<Vec<Value>, FetchError> {
        let mut all = self.list(&OwnKind::Function.resource()).await?;
        all.extend(self.list(&OwnKind::Service.resource()).await?);
        Ok(all)
    }

    /// The inputs of a timeline. Omits what may not be read, with a note.
    ///
    /// # Errors
    /// If the object itself cannot be read.
    pub async fn timeline_inputs(&self, argument: &ObjectArgument) -> Result<TimelineInputs, FetchError> {
        let (kind, object) = self.find(argument).await?;
        let (mut children, mut notes) = (Vec::new(), Vec::new());
        for (child, version, name) in child_names(kind, &object) {
            match self.get(&child.api_resource(&version), &name).await {
                Ok(found) => children.extend(found.map(|found| (child.display().to_owned(), found))),
                // Elpio is here: it is the child's API that went, or serves other versions now.
                Err(FetchError::NotInstalled(resource)) => {
                    notes.push(format!("{resource} is not served in version {version}"));
                }
                Err(error) => notes.push(error.to_string()),
            }
        }
        let events = match self.events_of(text(&object, "/metadata/uid")).await {
            Ok(events) => events,
            Err(error) => {
                notes.push(error.to_string());
                Vec::new()
            }
        };
        Ok(TimelineInputs { object, children, events, notes, ..TimelineInputs::default() })
    }

    /// The Events about an object.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn events_of(&self, uid: &str) -> Result<Vec<Value>, FetchError> {
        self.events(&format!("involvedObject.uid={uid}")).await
    }

    /// All of Elpio's Events.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn all_events(&self) -> Result<Vec<Value>, FetchError> {
        let mut all = self.events("").await?;
        all.retain(|event| text(event, "/reportingComponent") == CONTROLLER);
        Ok(all)
    }

    async fn events(&self, fields: &str) -> Result<Vec<Value>, FetchError> {
        // The core API serves the same Events, and supports a field selector for the object's uid.
        let resource = ApiResource::erase::<Event>(&());
        let call = self.call("list", &resource, "");
        let params =
            if fields.is_empty() { ListParams::default() } else { ListParams::default().fields(fields) };
        let listed = call_with_timeout(call, self.api(&resource).list(&params)).await?;
        Ok(listed.items.iter().map(|event| as_json(event, &resource)).collect())
    }
}

/// Items of a list have no kind of their own.
fn as_json(object: &DynamicObject, resource: &ApiResource) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    value["kind"] = resource.kind.clone().into();
    value["apiVersion"] = resource.api_version.clone().into();
    value
}

/// Kind, version and name of the children in the status.
fn child_names(kind: OwnKind, object: &Value) -> Vec<(ChildKind, String, String)> {
    if kind == OwnKind::Function {
        let named =
            [(ChildKind::PipelineRun, "/status/build"), (ChildKind::ElpioService, "/status/serviceName")];
        let named = named.map(|(kind, at)| (kind, kind.version().to_owned(), text(object, at).to_owned()));
        return named.into_iter().filter(|(_, _, name)| !name.is_empty()).collect();
    }
    let of_status = |child: &Value| {
        let (group, version) = text(child, "/apiVersion").rsplit_once('/').unwrap_or(("", "v1"));
        let kind = ChildKind::ALL
            .into_iter()
            .find(|kind| kind.group() == group && kind.kind() == text(child, "/kind"))?;
        Some((kind, version.to_owned(), text(child, "/name").to_owned()))
    };
    list(object, "/status/children").filter_map(of_status).collect()
}
