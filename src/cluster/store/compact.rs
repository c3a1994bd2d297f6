//! A child as its store holds it: one compressed text, trimmed to the fields that are read. It is parsed when it
//! changes and when its owner is reconciled, as a parsed tree would take many times the memory. Makes no requests.

use std::marker::PhantomData;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    ResourceExt,
    core::{DynamicObject, ObjectMeta, PartialObjectMeta},
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, IgnoredAny},
};
use serde_json::{Map, Value, json};

use crate::{
    api::{GROUP, annotation},
    cluster::{
        ObjectKey,
        store::{packed_text::PackedText, stored_object::StoredObject},
    },
    render::field_managers,
};

/// The longest text kept of a run: its messages go into conditions and Events.
const MAX_RUN_TEXT: usize = 4096;
/// The longest list kept of a run.
const MAX_RUN_ITEMS: usize = 64;

/// The fields kept of a run and its tasks: they are create-only and never compared with a manifest.
const RUN_SPEC: [&str; 2] = ["status", "params"];
const RUN_STATUS: [&str; 5] = ["conditions", "startTime", "completionTime", "results", "steps"];

/// A compressed object of a child's kind. Kubernetes' own metadata type takes half a kilobyte even when
/// empty, so the identifying fields are separate from the text.
#[derive(Clone, Debug)]
pub struct CompactObject {
    name: Box<str>,
    namespace: Box<str>,
    uid: Option<Box<str>>,
    resource_version: Option<u64>,
    /// The uid of its controller.
    owner: Option<Box<str>>,
    /// The rest of the metadata, and the other fields.
    text: PackedText,
}

/// Who created an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// A child that Elpio applies.
    Applied,
    /// A run, or a task of one.
    Run,
    /// Somebody else's object with Elpio's label: only its names are kept.
    Foreign,
}

/// An object's controller, which owns it whatever its labels are.
pub fn controller_of<K: ResourceExt>(object: &K) -> Option<OwnerReference> {
    object.owner_references().iter().find(|o| o.controller == Some(true)).cloned()
}

impl CompactObject {
    /// The uid of the object's controller.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }

    /// The unpacked object.
    #[must_use]
    pub fn to_object(&self) -> DynamicObject {
        let (metadata, data) = self.parse();
        DynamicObject { types: None, metadata, data }
    }

    /// The object's metadata alone, without parsing the rest.
    #[must_use]
    pub fn to_metadata(&self) -> PartialObjectMeta {
        let (metadata, IgnoredAny) = self.parse();
        PartialObjectMeta { types: None, metadata, _phantom: PhantomData }
    }

    fn parse<T: DeserializeOwned + Default>(&self) -> (ObjectMeta, T) {
        let (metadata, data): (ObjectMeta, T) = serde_json::from_str(&self.text.unpack()).unwrap_or_default();
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let metadata = ObjectMeta {
            name: text(&self.name),
            namespace: text(&self.namespace),
            uid: self.uid.as_deref().and_then(text),
            resource_version: self.resource_version.map(|version| version.to_string()),
            ..metadata
        };
        (metadata, data)
    }
}

impl From<DynamicObject> for CompactObject {
    fn from(object: DynamicObject) -> Self {
        let DynamicObject { mut metadata, data, .. } = trim(object);
        let owner = metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        let owner = owner.map(|owner| owner.uid.clone().into_boxed_str());
        let name = metadata.name.take().unwrap_or_default().into_boxed_str();
        let namespace = metadata.namespace.take().unwrap_or_default().into_boxed_str();
        let uid = metadata.uid.take().map(String::into_boxed_str);
        let resource_version = metadata.resource_version.take().and_then(|version| version.parse().ok());
        let text = serde_json::to_string(&(&metadata, &data)).unwrap_or_default();
        Self { name, namespace, uid, resource_version, owner, text: PackedText::new(&text) }
    }
}

impl<'de> Deserialize<'de> for CompactObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Like `DynamicObject`, but without buffering its fields a second time.
        let mut data = Map::deserialize(deserializer)?;
        let metadata = data.remove("metadata").map(ObjectMeta::deserialize).transpose();
        let metadata = metadata.map_err(D::Error::custom)?.unwrap_or_default();
        data.retain(|field, _| field != "apiVersion" && field != "kind");
        Ok(DynamicObject { types: None, metadata, data: Value::Object(data) }.into())
    }
}

impl StoredObject for CompactObject {
    fn key(&self) -> ObjectKey {
        ObjectKey { namespace: self.namespace.to_string(), name: self.name.to_string() }
    }

    fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }

    fn resource_version(&self) -> Option<u64> {
        self.resource_version
    }
}

/// The object without the fields that nobody reads.
#[must_use]
pub fn trim(mut object: DynamicObject) -> DynamicObject {
    let origin = origin(&object);
    object.types = None;
    let metadata = &mut object.metadata;
    metadata.self_link = None;
    metadata.generate_name = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.retain(|name, _| origin != Origin::Foreign && annotation::is_read(name));
    }
    if let Some(entries) = &mut metadata.managed_fields {
        if origin == Origin::Applied {
            field_managers::retain_shared(entries);
        } else {
            entries.clear();
        }
    }
    metadata.annotations.take_if(|annotations| annotations.is_empty());
    metadata.managed_fields.take_if(|entries| entries.is_empty());
    match origin {
        Origin::Applied => {}
        Origin::Run => object.data = run_data(&mut object.data),
        Origin::Foreign => {
            metadata.finalizers = None;
            metadata.labels.iter_mut().for_each(|labels| labels.retain(|name, _| is_own_name(name)));
            let owners = metadata.owner_references.iter_mut();
            owners.for_each(|owners| owners.retain(|owner| owner.controller == Some(true)));
            object.data = json!({});
        }
    }
    object
}

fn is_own_name(name: &str) -> bool {
    name.split_once('/').is_some_and(|(prefix, _)| prefix == GROUP)
}

fn origin(object: &DynamicObject) -> Origin {
    let Some(controller) = controller_of(object) else { return Origin::Foreign };
    let group = controller.api_version.split_once('/').map(|(group, _)| group);
    let is_run = || object.data.pointer("/spec/pipelineSpec").is_some();
    match group {
        Some(GROUP) if is_run() => Origin::Run,
        Some(GROUP) => Origin::Applied,
        Some("tekton.dev") => Origin::Run,
        _ => Origin::Foreign,
    }
}

/// The fields of a run or its task that are read.
fn run_data(data: &mut Value) -> Value {
    let mut kept = |part: &str, names: &[&str]| -> Map<String, Value> {
        let fields = data.get_mut(part).and_then(Value::as_object_mut);
        let fields = fields.map(std::mem::take).unwrap_or_default();
        fields.into_iter().filter(|(name, _)| names.contains(&name.as_str())).collect()
    };
    let (spec, mut status) = (kept("spec", &RUN_SPEC), kept("status", &RUN_STATUS));
    for step in status.get_mut("steps").and_then(Value::as_array_mut).into_iter().flatten() {
        let terminated = &step["terminated"];
        let terminated = json!({"exitCode": terminated["exitCode"], "message": terminated["message"]});
        *step = json!({"name": step["name"], "terminated": terminated});
    }
    let mut data = json!({"spec": spec, "status": status});
    bound(&mut data);
    data
}

/// Truncates what exceeds the limits for a run.
fn bound(value: &mut Value) {
    match value {
        Value::String(text) => text.truncate(text.floor_char_boundary(MAX_RUN_TEXT)),
        Value::Array(items) => {
            items.truncate(MAX_RUN_ITEMS);
            items.iter_mut().for_each(bound);
        }
        Value::Object(fields) => fields.values_mut().for_each(bound),
        _ => {}
    }
}

/// Whether a write changed an object, apart from the status, which the engine may have written meanwhile.
#[must_use]
pub fn has_changed(known: &DynamicObject, written: &DynamicObject) -> bool {
    let compared = |object: &DynamicObject| {
        let mut object = trim(object.clone());
        object.metadata.managed_fields = None;
        object.metadata.resource_version = None;
        if let Some(fields) = object.data.as_object_mut() {
            fields.remove("status");
        }
        object
    };
    compared(known) != compared(written)
}

#[cfg(test)]
#[path = "compact_test.rs"]
mod tests;
