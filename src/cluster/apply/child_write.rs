//! The write of one child: none if the child is up to date, forced if the owner controls it, refused if
//! another controller does.

use std::{sync::Arc, time::Duration};

use kube::{ResourceExt, core::DynamicObject};
use serde_json::{Value, json};
use tracing::Instrument;

use crate::{
    cluster::{
        ObjectKey,
        apply::{
            ApplyAttempt,
            ownership::{self, Metadata, NameOwner},
            requests::ApplyOptions,
            result::{ApplyError, StopReason, WriteError, WriteResult, name_conflict, name_terminating},
        },
        store::compact::has_changed,
    },
    render::{
        Child, ChildId, WriteMode,
        applied::ChildOutcome,
        drift::{Difference, differences},
        field_managers,
    },
    telemetry::{ChildStep, ErrorType, fail_step, step_for},
};

/// If the owner's watch has been silent for longer than this, a GET confirms that the owner exists before a create.
const MAX_SILENCE: Duration = Duration::from_secs(1);

/// How often dropped fields are removed again when another writer updates the object first.
const MAX_REMOVALS: u32 = 5;

/// No object has this version: even the first write to an empty etcd gets a later one. A server-side apply with it
/// therefore only creates: it conflicts if the object exists. The API server ignores the version on create.
const CREATE_ONLY_VERSION: &str = "1";

impl ApplyAttempt<'_> {
    /// Applies one child, in a span of its own.
    pub(super) async fn apply_child(&mut self, child: &Child) -> Result<ChildOutcome, StopReason> {
        let span = step_for(ChildStep::Apply, child.id.kind);
        match self.apply_if_changed(child).instrument(span.clone()).await {
            Ok(WriteResult::NotWritten(outcome)) => Ok(outcome),
            Ok(WriteResult::Written) => Ok(ChildOutcome::Changed),
            Err(WriteError::Stopped(reason)) => Err(reason),
            Err(WriteError::Failed(error)) => {
                fail_step(&span, error.class, &error.message);
                Ok(ChildOutcome::Failed(self.result.record_failure(error)))
            }
        }
    }

    async fn apply_if_changed(&mut self, child: &Child) -> Result<WriteResult, WriteError> {
        self.ensure_owner_known()?;
        match (&child.mode, self.live.get(&child.id)) {
            (WriteMode::Retain, _) => Ok(WriteResult::NotWritten(ChildOutcome::Unchanged)),
            (WriteMode::Patch(patch), _) => {
                let patched = self.applier.merge_patch(self.owner, &child.id, patch).await?;
                Ok(self.written(&child.id, None, patched))
            }
            (WriteMode::Apply, Some(live)) => self.apply_to_live(child, live).await,
            (WriteMode::Apply | WriteMode::CreateOnly, _) => self.create_or_adopt(child).await,
        }
    }

    /// Applies a child that the cache holds as this owner's.
    async fn apply_to_live(
        &mut self,
        child: &Child,
        live: &Arc<DynamicObject>,
    ) -> Result<WriteResult, WriteError> {
        if live.metadata.deletion_timestamp.is_some() {
            let name = child.id.to_string();
            return Ok(name_terminating(name));
        }
        let differences = differences(child, live);
        let uid = live.uid().unwrap_or_default();
        if differences.is_empty() || self.applier.persistent_drift.is_known(&uid, child.hash(), &differences)
        {
            self.note_persistent_drift(&child.id, &differences);
            self.note_co_owned_fields(child, live);
            return Ok(WriteResult::NotWritten(ChildOutcome::Unchanged));
        }
        let options = ApplyOptions { force: true, uid: Some(&uid), ..ApplyOptions::default() };
        let written = self.applier.server_side_apply(self.owner, child, options).await?;
        let written = self.remove_dropped(&child.id, live, written).await?;
        self.record_persistent_drift(child, &written);
        self.note_co_owned_fields(child, &written);
        Ok(self.written(&child.id, Some(live), written))
    }

    /// Applies a child that the cache does not hold as this owner's. One request creates it if the name is
    /// free; if that is refused, a GET finds the owner of the name.
    async fn create_or_adopt(&mut self, child: &Child) -> Result<WriteResult, WriteError> {
        self.check_unseen_owner().await?;
        let refused = match self.create(child).await {
            Err(WriteError::Failed(error)) if may_be_taken(error.class) => error,
            created => return created,
        };
        let (client, resource) = (&self.applier.client, self.applier.resource(self.owner, child.id.kind));
        let found = ownership::find_owner(client, self.owner, (&child.id, &child.mode), &resource).await;
        if found.is_err() && refused.class != ErrorType::Conflict {
            return Err(refused.into());
        }
        match found? {
            (NameOwner::Controller(other), _) => {
                Err(name_conflict(&child.id, &ownership::display_owner(&other)).into())
            }
            (NameOwner::Unowned(managers), _) => Err(name_conflict(&child.id, &managers).into()),
            (NameOwner::Terminating(holder), _) => Ok(name_terminating(holder)),
            (NameOwner::Owned | NameOwner::Orphan, Some(found)) => {
                self.check_owner().await?;
                self.adopt(child, &found).await
            }
            // The refusal is about the object itself, or the name has become free.
            _ => Err(refused.into()),
        }
    }

    /// Like `check_owner`, but only if the watch has been silent: a watch with recent events would have shown
    /// a deletion. The garbage collector removes a child that is created in between.
    async fn check_unseen_owner(&self) -> Result<(), WriteError> {
        let (kind, namespace) = (self.owner.kind, self.owner.namespace);
        if self.applier.children.watches().is_current(kind, namespace, MAX_SILENCE) {
            return Ok(self.ensure_owner_known()?);
        }
        self.check_owner().await
    }

    /// Refuses writes once the watch has shown the owner's deletion since the reconcile began. A write with
    /// the deleted uid would give orphans a missing owner, and the garbage collector would delete them.
    pub(super) fn ensure_owner_known(&self) -> Result<(), StopReason> {
        if (self.is_owner_known)() { Ok(()) } else { Err(StopReason::OwnerDeleted) }
    }

    /// Confirms with a GET that the owner still exists, before anything is created or adopted for it.
    pub(super) async fn check_owner(&self) -> Result<(), WriteError> {
        self.ensure_owner_known()?;
        let ask = async || {
            ownership::owner_exists(&self.applier.client, self.owner).await.map_err(ApplyError::from)
        };
        match self.owner_exists.get_or_init(ask).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(StopReason::OwnerDeleted.into()),
            Err(error) => Err(error.clone().into()),
        }
    }

    /// Creates the child; fails with a conflict if the name is taken.
    async fn create(&mut self, child: &Child) -> Result<WriteResult, WriteError> {
        let created = if child.mode == WriteMode::CreateOnly {
            self.applier.create(self.owner, child, false).await?
        } else {
            let options =
                ApplyOptions { resource_version: Some(CREATE_ONLY_VERSION), ..ApplyOptions::default() };
            let created = self.applier.server_side_apply(self.owner, child, options).await?;
            self.record_persistent_drift(child, &created);
            created
        };
        Ok(self.written(&child.id, None, created))
    }

    /// Adopts a child that lost its labels, an orphan, or an object restored from a backup. A create-only
    /// child gets only its labels and its owner reference back.
    async fn adopt(&mut self, child: &Child, found: &Metadata) -> Result<WriteResult, WriteError> {
        let (uid, version) = (found.metadata.uid.as_deref(), found.metadata.resource_version.as_deref());
        let written = if child.mode == WriteMode::CreateOnly {
            let patch = adoption_patch(child, found);
            self.applier.merge_patch(self.owner, &child.id, &patch).await?
        } else {
            let options =
                ApplyOptions { force: true, uid, resource_version: version, ..ApplyOptions::default() };
            let written = self.applier.server_side_apply(self.owner, child, options).await?;
            self.record_persistent_drift(child, &written);
            written
        };
        let unchanged = written.resource_version().as_deref() == version;
        let result = self.written(&child.id, None, written);
        Ok(if unchanged { WriteResult::NotWritten(ChildOutcome::Unchanged) } else { result })
    }

    /// Puts a response into the cache. A response that equals the live object is not a change.
    fn written(&self, id: &ChildId, live: Option<&DynamicObject>, written: DynamicObject) -> WriteResult {
        let changed = live.is_none_or(|live| has_changed(live, &written));
        self.applier.children.assume(id.kind, written);
        if changed { WriteResult::Written } else { WriteResult::NotWritten(ChildOutcome::Unchanged) }
    }

    /// Server-side apply keeps a field that the spec dropped if another manager also owns it. Elpio set the
    /// field, so it removes it; if the API server refuses, the message names the other manager.
    async fn remove_dropped(
        &mut self,
        id: &ChildId,
        live: &DynamicObject,
        written: DynamicObject,
    ) -> Result<DynamicObject, WriteError> {
        let before = live.managed_fields();
        if before.is_empty() {
            return Ok(written);
        }
        let (mut now, mut tries) = (written, 1);
        loop {
            let value = serde_json::to_value(&now).unwrap_or_default();
            let held = field_managers::co_owned(before, now.managed_fields(), &value);
            if held.is_empty() {
                return Ok(now);
            }
            let patch = field_managers::removal(&held, &now.resource_version().unwrap_or_default());
            let error = match self.applier.json_patch(self.owner, id, patch).await {
                Ok(patched) => return Ok(patched),
                Err(WriteError::Stopped(reason)) => return Err(reason.into()),
                Err(WriteError::Failed(error)) => error,
            };
            // An engine that keeps updating the status must not prevent the removal for ever.
            let newer = if tries < MAX_REMOVALS { self.newer_version(id, &now).await } else { None };
            if let Some(newer) = newer {
                (now, tries) = (newer, tries + 1);
                continue;
            }
            tracing::debug!(error = error.message, "failed to remove dropped fields");
            let (uid, co_owned_fields) = (now.uid().unwrap_or_default(), &self.applier.co_owned_fields);
            co_owned_fields.record(&self.applier.children, (id.kind, self.key(id)), &uid, held);
            return Ok(now);
        }
    }

    /// I/O: the same object if it has a newer version than `live`.
    async fn newer_version(&self, id: &ChildId, live: &DynamicObject) -> Option<DynamicObject> {
        let newer = self.applier.get(self.owner, id).await.ok()?;
        let is_newer = newer.uid() == live.uid() && newer.resource_version() != live.resource_version();
        is_newer.then_some(newer)
    }

    fn record_persistent_drift(&mut self, child: &Child, written: &DynamicObject) {
        let differences = differences(child, written);
        self.note_persistent_drift(&child.id, &differences);
        let uid = written.uid().unwrap_or_default();
        let (drift, children) = (&self.applier.persistent_drift, &self.applier.children);
        drift.record(children, (child.id.kind, self.key(&child.id)), (&uid, child.hash()), differences);
    }

    fn key(&self, id: &ChildId) -> ObjectKey {
        ObjectKey { namespace: self.owner.namespace.to_owned(), name: id.name.clone() }
    }

    fn note_co_owned_fields(&mut self, child: &Child, live: &DynamicObject) {
        let objects = || (serde_json::to_value(live).unwrap_or_default(), child.manifest());
        let held = self.applier.co_owned_fields.of_child(&live.uid().unwrap_or_default(), objects);
        self.result.applied.notes.extend(held.iter().map(|field| {
            let managers = field.managers.join(", ");
            format!("{}: field {} is also owned by field manager {managers}", child.id, field.path)
        }));
    }

    fn note_persistent_drift(&mut self, id: &ChildId, differences: &[Difference]) {
        if differences.is_empty() {
            return;
        }
        let paths: Vec<&str> = differences.iter().map(|difference| difference.path.as_str()).collect();
        let (name, paths) = (id.to_string(), paths.join(", "));
        let note = format!("{name}: an admission webhook or policy overrides {paths} on every write");
        self.result.applied.notes.push(note);
    }

    /// Whether the child is live and needs no write.
    pub(super) fn is_up_to_date(&self, child: &Child) -> bool {
        self.live.get(&child.id).is_some_and(|live| differences(child, live).is_empty())
    }
}

/// Whether the name may be taken. Admission may refuse a write before the API server compares the version.
fn may_be_taken(class: ErrorType) -> bool {
    matches!(class, ErrorType::Conflict | ErrorType::Rejected)
}

/// Gives an object the child's labels and owner reference, at the version that was read.
fn adoption_patch(child: &Child, found: &Metadata) -> Value {
    let controller = &child.body()["metadata"]["ownerReferences"][0];
    let others = found.owner_references().iter().filter(|other| controller["uid"] != other.uid.as_str());
    let owners: Vec<Value> = others.map(|other| json!(other)).chain([controller.clone()]).collect();
    json!({"metadata": {
        "uid": found.metadata.uid,
        "resourceVersion": found.metadata.resource_version,
        "labels": child.body()["metadata"]["labels"],
        "ownerReferences": owners,
    }})
}
