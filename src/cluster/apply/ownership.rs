//! Who holds a name that we want: asked only after the API server refused to let us have it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Api, Client, ResourceExt,
    core::{ApiResource, GroupVersionKind, PartialObjectMeta},
};

use crate::{
    cluster::{
        client::call::{ApiCall, ApiError, call_with_timeout},
        store::children::controller_of,
    },
    render::{Child, Owner},
    telemetry::ErrorType,
};

/// How far up the owners we look: placeholder Service → Route → Knative Service is the longest that is known.
const MAX_OWNER_DEPTH: usize = 4;

/// Who holds a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameOwner {
    /// We: the object lost its label, or somebody else writes the same fields.
    Owned,
    /// Nobody: the refusal had another cause.
    Nobody,
    /// What is being deleted, with its owner or by itself.
    Terminating(String),
    /// Somebody else.
    Other(String),
}

/// I/O: looks at the object that `child` met, and at its owners.
pub async fn find_owner(client: &Client, owner: &Owner<'_>, child: &Child, error: &ApiError) -> NameOwner {
    let resource = ApiResource::from_gvk_with_plural(&gvk(child), child.id.kind.plural());
    let Ok(Some(found)) = metadata(client, owner.namespace, &child.id.name, &resource).await else {
        return NameOwner::Nobody;
    };
    let Some(controller) = controller_of(&found) else {
        return match conflicting_managers(error) {
            // Without a controller it is somebody's own work, known by the fields that they manage.
            Some(managers) if error.class == ErrorType::Conflict => NameOwner::Other(managers),
            _ => NameOwner::Nobody,
        };
    };
    if controller.uid == owner.uid {
        return if error.class == ErrorType::Conflict { NameOwner::Owned } else { NameOwner::Nobody };
    }
    match terminating(client, owner, child, &found, &controller).await {
        Some(what) => NameOwner::Terminating(what),
        None => NameOwner::Other(display_owner(&controller)),
    }
}

/// I/O: `found`, which `controller` has, when one of the two is being deleted, or an owner further up.
pub async fn terminating(
    client: &Client,
    owner: &Owner<'_>,
    child: &Child,
    found: &impl ResourceExt,
    controller: &OwnerReference,
) -> Option<String> {
    let what = format!("{} {}", child.id.kind.display(), child.id.name);
    if found.meta().deletion_timestamp.is_some() {
        return Some(format!("{what}, which is being deleted,"));
    }
    let gone = deleted_ancestor(client, owner.namespace, controller.clone()).await?;
    Some(format!("{what} of {gone}, which is being deleted,"))
}

fn gvk(child: &Child) -> GroupVersionKind {
    let version = child.body["apiVersion"]
        .as_str()
        .and_then(|v| v.rsplit('/').next())
        .unwrap_or(child.id.kind.version());
    GroupVersionKind::gvk(child.id.kind.group(), version, child.id.kind.kind())
}

/// An owner, for people.
#[must_use]
pub fn display_owner(owner: &OwnerReference) -> String {
    format!("{} {} ({})", owner.kind, owner.name, owner.api_version)
}

/// The owner up the line that is gone or going, if there is one.
async fn deleted_ancestor(client: &Client, namespace: &str, mut reference: OwnerReference) -> Option<String> {
    for _ in 0..MAX_OWNER_DEPTH {
        let (group, version) = reference.api_version.split_once('/').unwrap_or(("", &reference.api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &reference.kind));
        let name = format!("{} {}", reference.kind, reference.name);
        match metadata(client, namespace, &reference.name, &resource).await {
            Ok(None) => return Some(name),
            Ok(Some(owner))
                if owner.metadata.deletion_timestamp.is_some()
                    || owner.uid().as_ref() != Some(&reference.uid) =>
            {
                return Some(name);
            }
            Ok(Some(owner)) => reference = controller_of(&owner)?,
            // What we may not see is taken to be there.
            Err(_) => return None,
        }
    }
    None
}

async fn metadata(
    client: &Client,
    namespace: &str,
    name: &str,
    resource: &ApiResource,
) -> Result<Option<PartialObjectMeta>, ApiError> {
    let api: Api<kube::core::DynamicObject> = Api::namespaced_with(client.clone(), namespace, resource);
    let call = ApiCall {
        verb: "get",
        resource: resource.plural.clone(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    match call_with_timeout(call, api.get_metadata_opt(name)).await {
        Ok(found) => Ok(found),
        Err(error) if error.class == ErrorType::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The field managers that a conflict names: `conflict with "kubectl-create" using apps/v1: .spec.replicas`.
fn conflicting_managers(error: &ApiError) -> Option<String> {
    let names: std::collections::BTreeSet<&str> = error
        .cause
        .split("conflict with \"")
        .skip(1)
        .chain(error.cause.split("conflicts with \"").skip(1))
        .filter_map(|rest| rest.split('"').next())
        .collect();
    (!names.is_empty()).then(|| format!("field manager {}", names.into_iter().collect::<Vec<_>>().join(", ")))
}
