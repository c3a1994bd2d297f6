//! Writes a status: guarded by the resourceVersion, as a minimal patch, and reported to the observer. It
//! computes nothing.

use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tracing::Instrument;

use crate::{
    cluster::{
        ObjectKey,
        client::call::{ApiCall, ApiError, call_with_timeout},
        store::resource_version,
    },
    controller::{
        kinds::{Kind, Object},
        observer::ChangeSource,
        reconcile::{Reconciler, merge_patch::merge_patch},
        workqueue::retry,
    },
    foreign::group_resource,
    telemetry::{ErrorType, ReconcileStep, step},
};

/// The outcome of a status write.
#[derive(Debug)]
pub enum StatusWrite {
    /// The stored status is already the same.
    Unchanged,
    /// Written, at this resourceVersion.
    Written(u64),
    /// The object has changed: it was deleted, or another writer changed its status. It is reconciled again
    /// at once, or with back-off after many conflicts; no Event.
    Stale,
    /// The write failed, or its outcome is unknown: `publish_events` reports it and `ReconcileResult` retries
    /// it with back-off.
    Failed(ApiError),
}

impl<K: Kind> Reconciler<K> {
    /// I/O: writes the status if it differs. The resourceVersion keeps a replaced leader from overwriting its
    /// successor's status. If only the spec changed meanwhile, the status is still right for its generation.
    pub(super) async fn write_status(&self, object: &Object<K>, status: &K::Status) -> StatusWrite {
        if object.status.as_ref() == Some(status) && object.unreadable_status.is_none() {
            let now = self.store.get(&ObjectKey::from_object(object));
            let is_current = now.is_none_or(|now| now.status == object.status);
            return if is_current { StatusWrite::Unchanged } else { StatusWrite::Stale };
        }
        if self.pruned.is_known(object, status) {
            return StatusWrite::Unchanged;
        }
        match self.write_changed_status(object, status).instrument(step(ReconcileStep::Status)).await {
            Ok(written) => written,
            // The client refused it: another replica leads.
            Err(_) if !self.observer.is_leader() => StatusWrite::Stale,
            Err(error) => StatusWrite::Failed(error),
        }
    }

    async fn write_changed_status(
        &self,
        object: &Object<K>,
        status: &K::Status,
    ) -> Result<StatusWrite, ApiError> {
        // An unreadable status is replaced as a whole.
        let unreadable = object.unreadable_status.clone().map(Ok);
        let old = unreadable.or_else(|| object.status.as_ref().map(serde_json::to_value)).transpose();
        let (Ok(old), Ok(new)) = (old, serde_json::to_value(status)) else {
            return Err(ApiError {
                call: Box::new(Self::status_call(object)),
                cause: "failed to encode the status as JSON".into(),
                class: ErrorType::Internal,
                retry_after: None,
            });
        };
        let wanted = status;
        let status = merge_patch(&old.unwrap_or_default(), &new);
        let api: Api<Object<K>> =
            Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default());
        let (name, params) = (object.name_any(), PatchParams::default());
        let mut version = object.resource_version();
        let mut conflicts = 0;
        loop {
            let patch =
                json!({"metadata": {"resourceVersion": version, "uid": object.uid()}, "status": status});
            let call = Self::status_call(object);
            match call_with_timeout(call, api.patch_status(&name, &params, &Patch::Merge(patch))).await {
                Ok(written) => {
                    let version = resource_version(&written);
                    self.pruned.record(&written, wanted);
                    if let Some(change) = self.store.assume(written) {
                        self.observer.observe::<K>(&change, ChangeSource::Write);
                    }
                    return Ok(StatusWrite::Written(version));
                }
                Err(error) if error.class == ErrorType::NotFound => {
                    self.store.assume_deleted(object);
                    return Ok(StatusWrite::Stale);
                }
                Err(error) if error.class == ErrorType::Conflict => {
                    conflicts += 1;
                    if conflicts > retry::immediate_retries(ErrorType::Conflict) {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
            match self.resource_version_now(&api, object).await? {
                Some(newer) => version = Some(newer),
                None => return Ok(StatusWrite::Stale),
            }
        }
    }

    /// I/O: the object's current resourceVersion, if its status is still the one that the computation started from.
    async fn resource_version_now(
        &self,
        api: &Api<Object<K>>,
        object: &Object<K>,
    ) -> Result<Option<String>, ApiError> {
        let call = ApiCall { verb: "get", resource: Self::resource(), ..Self::status_call(object) };
        let newer = call_with_timeout(call, api.get_opt(&object.name_any())).await?;
        let Some(newer) = newer.filter(|newer| newer.uid() == object.uid()) else {
            self.store.assume_deleted(object);
            return Ok(None);
        };
        // The watch will deliver an edit of the spec; a changed status means another writer.
        Ok(newer.resource_version().filter(|_| newer.status == object.status))
    }

    fn resource() -> String {
        group_resource(&<Object<K> as kube::Resource>::plural(&()), crate::api::GROUP)
    }

    fn status_call(object: &Object<K>) -> ApiCall {
        let resource = format!("{}/status", Self::resource());
        ApiCall::new("patch", resource, object.namespace().unwrap_or_default(), object.name_any())
    }
}
