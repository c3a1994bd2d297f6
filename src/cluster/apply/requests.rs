//! The requests that write a child, each sent only while this replica leads. Other files decide what to write
//! and when.

use either::Either;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    core::DynamicObject,
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    api::FIELD_MANAGER,
    cluster::{
        apply::{
            Applier,
            result::{ApplyError, StopReason, WriteError},
        },
        client::call::{ApiCall, ApiError, call_with_timeout},
        store::watch_handle::WatchState,
    },
    foreign::ChildKind,
    render::{Child, ChildId, Owner},
    telemetry::ErrorType,
};

/// How a server-side apply treats an existing object.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ApplyOptions<'a> {
    /// The API server validates and admits the object but stores nothing.
    pub dry_run: bool,
    /// Take fields over from other managers. Only for objects that this owner controls.
    pub force: bool,
    /// The object must exist with this uid: a write must neither recreate a deleted child nor take over
    /// another owner's object of the same name.
    pub uid: Option<&'a str>,
    /// An existing object must have this version. If there is none, it is created, unless `uid` is set.
    pub resource_version: Option<&'a str>,
}

impl Applier {
    fn ensure_leading(&self) -> Result<(), StopReason> {
        if *self.leading.borrow() { Ok(()) } else { Err(StopReason::LeadershipLost) }
    }

    pub(super) async fn server_side_apply(
        &self,
        owner: &Owner<'_>,
        child: &Child,
        options: ApplyOptions<'_>,
    ) -> Result<DynamicObject, WriteError> {
        let params = PatchParams {
            force: options.force,
            dry_run: options.dry_run,
            ..PatchParams::apply(FIELD_MANAGER)
        };
        let mut manifest = child.manifest();
        for (field, value) in [("uid", options.uid), ("resourceVersion", options.resource_version)] {
            if let Some(value) = value {
                manifest["metadata"][field] = value.into();
            }
        }
        self.ensure_leading()?;
        let (api, patch) = (self.api(owner, child.id.kind), Patch::Apply(manifest));
        let request = api.patch(&child.id.name, &params, &patch);
        Ok(call_with_timeout(call("patch", owner, &child.id), request).await?)
    }

    pub(super) async fn create(
        &self,
        owner: &Owner<'_>,
        child: &Child,
        dry_run: bool,
    ) -> Result<DynamicObject, WriteError> {
        self.ensure_leading()?;
        let object = serde_json::from_value(child.manifest())
            .map_err(|error| ApplyError::new(ErrorType::Internal, error.to_string()))?;
        let params = PostParams { dry_run, field_manager: Some(FIELD_MANAGER.to_owned()) };
        let api = self.api(owner, child.id.kind);
        Ok(call_with_timeout(call("create", owner, &child.id), api.create(&params, &object)).await?)
    }

    pub(super) async fn merge_patch(
        &self,
        owner: &Owner<'_>,
        id: &ChildId,
        patch: &Value,
    ) -> Result<DynamicObject, WriteError> {
        self.patch(owner, id, &Patch::Merge(patch)).await
    }

    pub(super) async fn json_patch(
        &self,
        owner: &Owner<'_>,
        id: &ChildId,
        operations: Value,
    ) -> Result<DynamicObject, WriteError> {
        let operations = serde_json::from_value(operations)
            .map_err(|error| ApplyError::new(ErrorType::Internal, error.to_string()))?;
        self.patch(owner, id, &Patch::Json::<Value>(operations)).await
    }

    async fn patch<P: Serialize + std::fmt::Debug + Sync>(
        &self,
        owner: &Owner<'_>,
        id: &ChildId,
        patch: &Patch<P>,
    ) -> Result<DynamicObject, WriteError> {
        self.ensure_leading()?;
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let api = self.api(owner, id.kind);
        Ok(call_with_timeout(call("patch", owner, id), api.patch(&id.name, &params, patch)).await?)
    }

    pub(super) async fn get(&self, owner: &Owner<'_>, id: &ChildId) -> Result<DynamicObject, WriteError> {
        Ok(call_with_timeout(call("get", owner, id), self.api(owner, id.kind).get(&id.name)).await?)
    }

    /// Deletes the child by its uid, with background propagation. Returns it if a finalizer keeps it.
    pub(super) async fn delete(
        &self,
        owner: &Owner<'_>,
        id: &ChildId,
        live: &DynamicObject,
    ) -> Result<Option<DynamicObject>, WriteError> {
        self.ensure_leading()?;
        let preconditions = Preconditions { uid: live.uid(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        let api = self.api(owner, id.kind);
        let response: Result<_, ApiError> =
            call_with_timeout(call("delete", owner, id), api.delete(&id.name, &params)).await;
        match response {
            Ok(Either::Left(kept)) if !kept.finalizers().is_empty() => Ok(Some(kept)),
            Ok(_) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn api(&self, owner: &Owner<'_>, kind: ChildKind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), owner.namespace, &self.resource(owner, kind))
    }

    pub(super) fn resource(&self, owner: &Owner<'_>, kind: ChildKind) -> kube::core::ApiResource {
        match self.children.availability(kind, owner.namespace) {
            WatchState::Synced(version) => kind.api_resource(version),
            _ => kind.api_resource(kind.version()),
        }
    }
}

fn call(verb: &'static str, owner: &Owner<'_>, id: &ChildId) -> ApiCall {
    ApiCall::new(verb, id.kind.group_resource(), owner.namespace, &id.name)
}
