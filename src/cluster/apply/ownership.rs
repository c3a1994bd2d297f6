//! Who owns a name that is taken or that an engine switch needs, and whether the owner still exists. Reads
//! metadata only and writes nothing. `child_write.rs` acts on the answer: it creates `Absent`, adopts `Owned`
//! and `Orphan`, waits for `Terminating`, and reports `Controller` and `Unowned` as name conflicts.
//! `controller/hosts.rs` decides who owns a host.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, OwnerReference};
use kube::{
    Api, Client, ResourceExt,
    core::{ApiResource, DynamicObject, GroupVersionKind, PartialObjectMeta},
};

use crate::{
    api::{FIELD_MANAGER, GROUP},
    cluster::{
        client::call::{ApiCall, ApiError, call_with_timeout},
        store::compact::controller_of,
    },
    foreign::{ChildKind, group_resource},
    render::{ChildId, Owner, WriteMode, formats::is_dns_1035_label},
    telemetry::{self, ErrorType},
};

/// An object's metadata.
pub type Metadata = PartialObjectMeta<DynamicObject>;

/// Kinds whose controllers create further objects that carry Elpio's labels: Knative's placeholder Service,
/// the HTTP add-on's own `ScaledObject`.
const ENGINES: &[ChildKind] =
    &[ChildKind::KnativeService, ChildKind::HttpScaledObject, ChildKind::ScaledObject];

/// Who owns the name of a child that the cache does not hold.
#[derive(Clone, Debug, PartialEq)]
pub enum NameOwner {
    /// No object has this name.
    Absent,
    /// This owner: somebody removed its label, or the watch lags.
    Owned,
    /// No controller, but Elpio's label and field manager: an orphan, or an object restored from a backup.
    Orphan,
    /// An object that is being deleted, or will be, together with an object that this owner no longer has.
    Terminating(String),
    /// Another controller.
    Controller(OwnerReference),
    /// No controller: its field managers, as text.
    Unowned(String),
}

/// Who owns `found`, the object with the name of `owner`'s child `id`. The controller reference decides,
/// never a label: anybody can set a label.
#[must_use]
pub fn classify_owner(
    owner: &Owner<'_>,
    id: &ChildId,
    mode: &WriteMode,
    found: Option<&impl ResourceExt>,
) -> NameOwner {
    let Some(found) = found else { return NameOwner::Absent };
    let name = id.to_string();
    if found.meta().deletion_timestamp.is_some() {
        return NameOwner::Terminating(name);
    }
    let labelled = found.labels().get(owner.label.0).map(String::as_str) == Some(owner.label.1);
    match controller_of(found) {
        Some(controller) if controller.uid == owner.uid => NameOwner::Owned,
        Some(controller) if is_deleted_owner(owner, &controller) || (labelled && is_engine(&controller)) => {
            NameOwner::Terminating(format!("{name} of {} {}", controller.kind, controller.name))
        }
        Some(controller) => NameOwner::Controller(controller),
        None if labelled && (*mode == WriteMode::CreateOnly || was_applied(found.managed_fields())) => {
            NameOwner::Orphan
        }
        None => NameOwner::Unowned(display_managers(found.managed_fields())),
    }
}

/// Whether the controller is a deleted object with the owner's kind and name: the garbage collector will
/// delete its children.
fn is_deleted_owner(owner: &Owner<'_>, controller: &OwnerReference) -> bool {
    controller.api_version.split('/').next() == Some(GROUP)
        && controller.kind == owner.kind
        && controller.name == owner.name
}

fn is_engine(controller: &OwnerReference) -> bool {
    let group = controller.api_version.split_once('/').map(|(group, _)| group);
    ENGINES.iter().any(|kind| Some(kind.group()) == group)
}

/// Elpio's server-side apply wrote it.
fn was_applied(managed: &[ManagedFieldsEntry]) -> bool {
    managed.iter().any(|entry| {
        entry.manager.as_deref() == Some(FIELD_MANAGER) && entry.operation.as_deref() == Some("Apply")
    })
}

/// The field managers of an object without a controller.
fn display_managers(managed: &[ManagedFieldsEntry]) -> String {
    let names: BTreeSet<&str> = managed.iter().filter_map(|entry| entry.manager.as_deref()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    match names.as_slice() {
        [] => "no controller".to_owned(),
        [name] => format!("field manager {name}"),
        _ => format!("field managers {}", names.join(", ")),
    }
}

/// An owner for display.
#[must_use]
pub fn display_owner(owner: &OwnerReference) -> String {
    format!("{} {} ({})", owner.kind, owner.name, owner.api_version)
}

/// Whether a reference names an object of Elpio's own kinds, so that its parts are safe in an API path: a
/// name such as `a/b` or `a?watch=true` would request something else.
#[must_use]
pub fn is_own_reference(owner: &Owner<'_>, reference: &OwnerReference) -> bool {
    reference.api_version == owner.api_version
        && telemetry::Kind::VALUES.contains(&reference.kind.as_str())
        && is_dns_1035_label(&reference.name, 63)
}

/// I/O: reads the object that has a child's name, and its owner if that is of Elpio's own kinds: any user can
/// write anything else into an ownerReference.
///
/// # Errors
/// [`ApiError`], with the class of the GET that failed.
pub async fn find_owner(
    client: &Client,
    owner: &Owner<'_>,
    (id, mode): (&ChildId, &WriteMode),
    resource: &ApiResource,
) -> Result<(NameOwner, Option<Metadata>), ApiError> {
    let found = get_metadata(client, owner.namespace, &id.name, resource).await?;
    let name_owner = classify_owner(owner, id, mode, found.as_ref());
    let NameOwner::Controller(controller) = &name_owner else { return Ok((name_owner, found)) };
    if !is_own_reference(owner, controller) {
        return Ok((name_owner, found));
    }
    let resource = own_resource(owner.api_version, &controller.kind);
    let other = get_metadata(client, owner.namespace, &controller.name, &resource).await?;
    if exists(other.as_ref(), &controller.uid) {
        return Ok((name_owner, found));
    }
    let what = format!("{id} of {} {}", controller.kind, controller.name);
    Ok((NameOwner::Terminating(what), found))
}

/// I/O: whether the owner still exists with its uid and is not being deleted. The watch may lag, and a
/// deleted owner must not create or adopt anything.
///
/// # Errors
/// [`ApiError`], with the class of the GET that failed.
pub async fn owner_exists(client: &Client, owner: &Owner<'_>) -> Result<bool, ApiError> {
    let resource = own_resource(owner.api_version, owner.kind);
    let found = get_metadata(client, owner.namespace, owner.name, &resource).await?;
    Ok(exists(found.as_ref(), owner.uid))
}

fn exists(found: Option<&Metadata>, uid: &str) -> bool {
    found.is_some_and(|found| {
        found.metadata.uid.as_deref() == Some(uid) && found.metadata.deletion_timestamp.is_none()
    })
}

fn own_resource(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let plural = format!("{}s", kind.to_lowercase());
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), &plural)
}

async fn get_metadata(
    client: &Client,
    namespace: &str,
    name: &str,
    resource: &ApiResource,
) -> Result<Option<Metadata>, ApiError> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, resource);
    let call = ApiCall::new("get", group_resource(&resource.plural, &resource.group), namespace, name);
    match call_with_timeout(call, api.get_metadata_opt(name)).await {
        Ok(found) => Ok(found),
        Err(error) if error.class == ErrorType::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[path = "ownership_test.rs"]
mod tests;
