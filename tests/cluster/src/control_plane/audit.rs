//! The API server's audit log: which requests it answered, and for whom. It only reads.

use std::{
    collections::BTreeMap,
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
};

use serde::Deserialize;

/// The audit policy: one line per answered request, without bodies. A watch is logged when it starts and when
/// it ends.
pub(crate) const POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
";

/// One request that the API server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// The `Audit-Id`.
    pub id: String,
    /// The user's name; a service account is `system:serviceaccount:NAMESPACE:NAME`.
    pub user: String,
    /// The `User-Agent`.
    pub user_agent: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// Path and query.
    pub uri: String,
    /// The API group; empty for core.
    pub group: String,
    /// The plural; empty for non-resource paths.
    pub resource: String,
    /// Empty for the object itself.
    pub subresource: String,
    /// Empty for a cluster-wide request.
    pub namespace: String,
    /// Empty for a collection.
    pub name: String,
    /// The HTTP status code of the response.
    pub code: u16,
    /// When it was received, RFC 3339 with microseconds.
    pub received: String,
}

/// Entries of the audit log, narrowed down by filters.
#[derive(Clone, Debug, Default)]
pub struct Audit(pub Vec<AuditEntry>);

impl Audit {
    /// By this user.
    #[must_use]
    pub fn user(self, user: &str) -> Self {
        self.filter(|entry| entry.user == user)
    }

    /// By clients whose `User-Agent` has this prefix.
    #[must_use]
    pub fn user_agent(self, prefix: &str) -> Self {
        self.filter(|entry| entry.user_agent.starts_with(prefix))
    }

    /// With this verb.
    #[must_use]
    pub fn verb(self, verb: &str) -> Self {
        self.filter(|entry| entry.verb == verb)
    }

    /// In this namespace.
    #[must_use]
    pub fn namespace(self, namespace: &str) -> Self {
        self.filter(|entry| entry.namespace == namespace)
    }

    /// Of this resource: `services` (in any group), `elpioservices/status`, `services.serving.knative.dev`.
    #[must_use]
    pub fn resource(self, resource: &str) -> Self {
        self.filter(|entry| entry.matches_resource(resource))
    }

    /// Only requests that write.
    #[must_use]
    pub fn writes(self) -> Self {
        self.filter(|entry| !matches!(entry.verb.as_str(), "get" | "list" | "watch"))
    }

    /// Only entries that match.
    #[must_use]
    pub fn filter(mut self, predicate: impl Fn(&AuditEntry) -> bool) -> Self {
        self.0.retain(|entry| predicate(entry));
        self
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of entries per [`AuditEntry::summary`], to be printed by assertions.
    #[must_use]
    pub fn count(&self) -> BTreeMap<String, usize> {
        let mut count = BTreeMap::new();
        for entry in &self.0 {
            *count.entry(entry.summary()).or_default() += 1;
        }
        count
    }

    /// Reads the log from this offset on.
    pub(crate) fn read(path: &Path, offset: u64) -> Self {
        let mut text = String::new();
        let mut file = std::fs::File::open(path).expect("the audit log exists");
        file.seek(SeekFrom::Start(offset)).expect("seekable");
        file.read_to_string(&mut text).expect("readable");
        // The last line may be incomplete.
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        let entries = complete
            .lines()
            .filter_map(|line| serde_json::from_str::<Record>(line).ok())
            .filter(|record| !(record.verb == "watch" && record.stage == "ResponseComplete"))
            .map(AuditEntry::from)
            .collect();
        Self(entries)
    }
}

impl AuditEntry {
    /// Whether the request is for `resource`, in the notation of [`Audit::resource`].
    #[must_use]
    pub fn matches_resource(&self, resource: &str) -> bool {
        let (path, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let (plural, group) = match path.split_once('.') {
            Some((plural, group)) => (plural, Some(group)),
            None => (path, None),
        };
        self.resource == plural
            && self.subresource == subresource
            && group.is_none_or(|group| group == self.group)
    }

    /// `patch services.serving.knative.dev/status`
    #[must_use]
    pub fn summary(&self) -> String {
        let dot = if self.group.is_empty() { "" } else { "." };
        let slash = if self.subresource.is_empty() { "" } else { "/" };
        format!("{} {}{dot}{}{slash}{}", self.verb, self.resource, self.group, self.subresource)
    }
}

/// An `audit.k8s.io/v1` Event, reduced to the fields in use.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    #[serde(rename = "auditID")]
    audit_id: String,
    stage: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: User,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: ResponseStatus,
    request_received_timestamp: String,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    resource: String,
    namespace: String,
    name: String,
    api_group: String,
    subresource: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ResponseStatus {
    code: u16,
}

impl From<Record> for AuditEntry {
    fn from(record: Record) -> Self {
        Self {
            id: record.audit_id,
            user: record.user.username,
            user_agent: record.user_agent,
            verb: record.verb,
            uri: record.request_uri,
            group: record.object_ref.api_group,
            resource: record.object_ref.resource,
            subresource: record.object_ref.subresource,
            namespace: record.object_ref.namespace,
            name: record.object_ref.name,
            code: record.response_status.code,
            received: record.request_received_timestamp,
        }
    }
}
