//! A reference to an object, for its spans, log records, log lines and Events. Plain data.

use crate::telemetry::catalog::attributes::Kind;

/// The object that telemetry and Events are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectReference {
    /// Its kind.
    pub kind: Kind,
    /// Its `apiVersion`.
    pub api_version: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

impl ObjectReference {
    /// Its attributes.
    pub(in crate::telemetry) fn attributes<V: From<&'static str> + From<String>>(
        &self,
    ) -> [(&'static str, V); 5] {
        [
            ("k8s.namespace.name", self.namespace.clone().into()),
            ("k8s.object.kind", self.kind.as_str().into()),
            ("k8s.object.api_version", self.api_version.into()),
            ("k8s.object.name", self.name.clone().into()),
            ("k8s.object.uid", self.uid.clone().into()),
        ]
    }
}
