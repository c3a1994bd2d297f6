//! One object to apply: its content, its dependencies, and the hash that identifies what was applied. Pure.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    api::{annotation, hex::hex, label},
    foreign::ChildKind,
};

/// The object that owns the children.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// Its `apiVersion`.
    pub api_version: &'static str,
    /// Its `kind`.
    pub kind: &'static str,
    /// Its namespace, which its children share.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its uid.
    pub uid: &'a str,
    /// The label on its children: `elpio.io/service` or `elpio.io/function`, and the owner's name.
    pub label: (&'static str, &'a str),
    /// Its annotation `elpio.io/build`: copied to the pod template if the image is by tag, so that a new
    /// build creates a new revision.
    pub build: Option<&'a str>,
}

/// A child's kind and name; the namespace is the owner's.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ChildId {
    /// Its kind.
    pub kind: ChildKind,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for ChildId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.display(), self.name)
    }
}

impl ChildId {
    /// The ID of a child.
    pub fn new(kind: ChildKind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }
}

/// One object to apply.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// Its kind and name.
    pub id: ChildId,
    /// The children that must be applied first.
    pub depends_on: Vec<ChildId>,
    /// Annotations that are applied but not hashed (trace context).
    pub unhashed_annotations: BTreeMap<String, String>,
    /// How to write it.
    pub mode: WriteMode,
    body: Value,
    hash: String,
}

/// How to write a child.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum WriteMode {
    /// Server-side apply, whenever the child differs.
    #[default]
    Apply,
    /// Create once, then never write again.
    CreateOnly,
    /// Leave unchanged.
    Retain,
    /// Apply this merge patch, and otherwise leave unchanged.
    Patch(Value),
}

/// A child under construction.
pub(crate) struct ChildBuilder<S> {
    pub id: ChildId,
    pub version: String,
    pub depends_on: Vec<ChildId>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub spec: S,
}

impl<S: Serialize> ChildBuilder<S> {
    /// A child of the preferred version without labels.
    pub(crate) fn new(id: ChildId, spec: S) -> Self {
        let version = id.kind.version().to_owned();
        Self {
            id,
            version,
            depends_on: Vec::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            spec,
        }
    }

    /// The finished child.
    pub(crate) fn build(self, owner: &Owner<'_>) -> Child {
        let mut labels = owner.labels();
        labels.extend(self.labels);
        let mut metadata = json!({
            "name": self.id.name,
            "namespace": owner.namespace,
            "labels": labels,
            "ownerReferences": [owner.reference()],
        });
        if !self.annotations.is_empty() {
            metadata["annotations"] = json!(self.annotations);
        }
        let body = json!({
            "apiVersion": self.id.kind.api_version_at(&self.version),
            "kind": self.id.kind.kind(),
            "metadata": metadata,
            "spec": self.spec,
        });
        Child::new(self.id, self.depends_on, body)
    }
}

impl Owner<'_> {
    /// The labels of all children and pods of this owner.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (label::MANAGED_BY.to_owned(), label::MANAGED_BY_VALUE.to_owned()),
            (label::PART_OF.to_owned(), label::MANAGED_BY_VALUE.to_owned()),
            (label::NAME.to_owned(), self.name.to_owned()),
            (label::INSTANCE.to_owned(), self.name.to_owned()),
            (self.label.0.to_owned(), self.label.1.to_owned()),
        ])
    }

    fn reference(&self) -> Value {
        json!({
            "apiVersion": self.api_version,
            "kind": self.kind,
            "name": self.name,
            "uid": self.uid,
            "controller": true,
            "blockOwnerDeletion": true,
        })
    }
}

impl Child {
    fn new(id: ChildId, depends_on: Vec<ChildId>, body: Value) -> Self {
        let hash = digest_of(&body, 16);
        Self { id, depends_on, unhashed_annotations: BTreeMap::new(), mode: WriteMode::Apply, body, hash }
    }

    /// A child that already exists and stays; only `mode` may write it.
    #[must_use]
    pub fn existing(id: ChildId, mode: WriteMode) -> Self {
        Self { mode, ..Self::new(id, Vec::new(), Value::Null) }
    }

    /// The object to apply: `apiVersion`, `kind`, `metadata`, `spec`.
    #[must_use]
    pub fn body(&self) -> &Value {
        &self.body
    }

    /// The first 16 hexadecimal digits of the SHA-256 of the body with sorted keys: every version of the
    /// operator computes the same hash for the same object.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The manifest to send: the body with the annotation `elpio.io/applied` and the unhashed ones.
    #[must_use]
    pub fn manifest(&self) -> Value {
        let mut manifest = self.body.clone();
        let annotations = &mut manifest["metadata"]["annotations"];
        annotations[annotation::APPLIED] = self.hash.as_str().into();
        for (name, value) in &self.unhashed_annotations {
            annotations[name] = value.as_str().into();
        }
        manifest
    }
}

/// The first `digits` hexadecimal digits of the SHA-256 of a value as JSON. `serde_json` sorts the keys,
/// unless a dependency enables its feature `preserve_order`.
pub(crate) fn digest_of(value: &Value, digits: usize) -> String {
    let mut text = hex(&Sha256::digest(serde_json::to_vec(value).unwrap_or_default()));
    text.truncate(digits);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A newer operator may build the same object in another order, and a dependency may enable `preserve_order`.
    #[test]
    fn the_hash_does_not_depend_on_the_order_of_keys() {
        let child = |body: Value| Child::new(ChildId::new(ChildKind::Service, "a"), Vec::new(), body);
        let one = child(json!({"a": {"x": 1, "y": [{"p": 1, "q": 2}]}, "b": 2}));
        let other = child(json!({"b": 2, "a": {"y": [{"q": 2, "p": 1}], "x": 1}}));
        assert_eq!(one.hash(), other.hash());
        assert_eq!(one.hash().len(), 16);
        assert_ne!(one.hash(), child(json!({"a": {"x": 1, "y": [{"p": 2, "q": 1}]}, "b": 2})).hash());
    }
}
