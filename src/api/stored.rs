//! A lenient form of our kinds for watches: one undecodable object never stops the others. It reads; it never
//! writes.

use std::{borrow::Cow, collections::BTreeMap, io};

use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::Time};
use kube::{CustomResourceExt, Resource, core::ObjectMeta};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::api::{
    annotation,
    function::{ElpioFunction, ElpioFunctionSpec, ElpioFunctionStatus},
    service::{ElpioService, ElpioServiceSpec, ElpioServiceStatus},
};

/// The longest spec, in bytes of JSON. A longer one is not kept.
pub const MAX_SPEC: usize = 256 * 1024;

/// The longest value that is kept of an annotation, in bytes: more than any rule allows.
const MAX_ANNOTATION: usize = 2048;

/// An object as the API server holds it, whatever its spec holds.
#[derive(Clone, Debug)]
pub struct LenientObject<S, T> {
    /// The object's metadata, as far as it is read: what identifies it, its versions and times, and the annotations that
    /// are read.
    pub metadata: ObjectMeta,
    /// The spec, or where and why it cannot be read (an object may be older than the schema).
    pub spec: Result<S, SpecError>,
    /// The status, without the fields that cannot be read (a newer version may have written them); `None`
    /// when there is none.
    pub status: Option<T>,
    /// The status as it is stored, when some of it cannot be read: the next write must replace it whole.
    pub unreadable_status: Option<Value>,
}

/// An `ElpioService` as the API server holds it.
pub type LenientService = LenientObject<ElpioServiceSpec, ElpioServiceStatus>;

/// An `ElpioFunction` as the API server holds it.
pub type LenientFunction = LenientObject<ElpioFunctionSpec, ElpioFunctionStatus>;

/// Where and why a spec cannot be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct SpecError {
    /// The field, as `spec.env[2].name`.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

/// Ties a spec to its kind, so that [`LenientObject`] can stand for that kind on a watch.
pub trait SpecOf {
    /// The kind whose spec this is.
    type Kind: Resource<DynamicType = (), Scope = NamespaceResourceScope> + CustomResourceExt;
}

impl SpecOf for ElpioServiceSpec {
    type Kind = ElpioService;
}

impl SpecOf for ElpioFunctionSpec {
    type Kind = ElpioFunction;
}

impl<S: SpecOf, T> Resource for LenientObject<S, T> {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        S::Kind::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        S::Kind::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        S::Kind::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        S::Kind::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// An object as it is sent; what is not named here is passed over, managed fields above all.
#[derive(Deserialize)]
struct SentObject {
    metadata: SentMetadata,
    #[serde(default)]
    spec: Value,
    status: Option<Value>,
}

/// The metadata that is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SentMetadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    annotations: Option<BTreeMap<String, String>>,
}

impl<'de, S: DeserializeOwned, T: DeserializeOwned> Deserialize<'de> for LenientObject<S, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let SentObject { metadata, spec, status } = SentObject::deserialize(deserializer)?;
        let (status, unreadable_status) = read_status(status);
        Ok(Self { metadata: metadata.into(), spec: read_spec(spec), status, unreadable_status })
    }
}

impl From<SentMetadata> for ObjectMeta {
    fn from(sent: SentMetadata) -> Self {
        let annotations = sent.annotations.unwrap_or_default().into_iter();
        let read = annotations.filter(|(name, _)| annotation::is_read(name)).map(|(name, mut value)| {
            value.truncate(value.floor_char_boundary(MAX_ANNOTATION));
            (name, value)
        });
        Self {
            name: sent.name,
            namespace: sent.namespace,
            uid: sent.uid,
            resource_version: sent.resource_version,
            generation: sent.generation,
            creation_timestamp: sent.creation_timestamp,
            deletion_timestamp: sent.deletion_timestamp,
            annotations: Some(read.collect()).filter(|read: &BTreeMap<_, _>| !read.is_empty()),
            ..Self::default()
        }
    }
}

/// The number of bytes that a value has as JSON.
fn json_size(value: &Value) -> usize {
    struct Counter(usize);
    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    serde_json::to_writer(&mut counter, value).map_or(usize::MAX, |()| counter.0)
}

/// Reads a status field by field, so that one unknown word does not lose what the others remember; and the
/// stored status when something of it was left out.
fn read_status<T: DeserializeOwned>(stored: Option<Value>) -> (Option<T>, Option<Value>) {
    let Some(stored) = stored.filter(|status| !status.is_null()) else { return (None, None) };
    if let Ok(status) = T::deserialize(&stored) {
        return (Some(status), None);
    }
    let Value::Object(fields) = &stored else { return (None, Some(stored)) };
    let readable = |field: &(&String, &Value)| {
        let alone = Value::Object([(field.0.clone(), field.1.clone())].into_iter().collect());
        T::deserialize(alone).is_ok()
    };
    let kept: Map<_, _> =
        fields.iter().filter(readable).map(|(name, value)| (name.clone(), value.clone())).collect();
    let status = (!kept.is_empty()).then(|| T::deserialize(Value::Object(kept)).ok()).flatten();
    (status, Some(stored))
}

/// Reads a spec and keeps the path of the field that could not be read.
fn read_spec<S: DeserializeOwned>(spec: Value) -> Result<S, SpecError> {
    if spec.is_null() {
        return Err(SpecError { path: "spec".to_owned(), message: "is missing".to_owned() });
    }
    let size = json_size(&spec);
    if size > MAX_SPEC {
        let message = format!("must have at most {MAX_SPEC} bytes as JSON, not {size}");
        return Err(SpecError { path: "spec".to_owned(), message });
    }
    serde_path_to_error::deserialize(spec).map_err(|error| {
        let path = match error.path().to_string().as_str() {
            "." => "spec".to_owned(),
            field => format!("spec.{field}"),
        };
        SpecError { path, message: error.into_inner().to_string() }
    })
}

#[cfg(test)]
#[path = "stored_test.rs"]
mod tests;
