//! Reads and applies the samples that users apply. It does not change them.

use std::fs;

use kube::{
    Client, ResourceExt as _,
    api::{Api, Patch, PatchParams},
    core::{DynamicObject, GroupVersionKind},
    discovery,
};

use crate::repository_root;

/// The samples' directory.
pub const SAMPLES_DIR: &str = "deploy/samples/";

/// The objects of all files, in the order of file names.
///
/// # Errors
/// If a file cannot be read; the error names it.
pub fn read() -> Result<Vec<DynamicObject>, String> {
    read_from(SAMPLES_DIR)
}

/// The objects in another directory of the repository.
///
/// # Errors
/// As [`read`].
pub fn read_from(dir: &str) -> Result<Vec<DynamicObject>, String> {
    let entries = fs::read_dir(repository_root().join(dir)).map_err(|error| format!("{dir}: {error}"))?;
    let mut paths: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .collect();
    paths.sort();
    let mut objects = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let documents: Vec<DynamicObject> =
            serde_saphyr::from_multiple(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        objects.extend(documents);
    }
    Ok(objects)
}

/// The names of the samples of this kind.
#[must_use]
pub fn names(samples: &[DynamicObject], kind: &str) -> Vec<String> {
    let is = |object: &&DynamicObject| object.types.as_ref().is_some_and(|types| types.kind == kind);
    samples.iter().filter(is).map(kube::ResourceExt::name_any).collect()
}

/// Applies them into a namespace, as `kubectl apply --server-side` does.
///
/// # Errors
/// If the API server rejects one; the error names it.
pub async fn apply(client: &Client, namespace: &str, samples: &[DynamicObject]) -> Result<(), String> {
    for object in samples {
        let name = object.name_any();
        let types = object.types.clone().ok_or_else(|| format!("{name}: no kind"))?;
        let gvk = GroupVersionKind::try_from(&types).map_err(|error| format!("{name}: {error}"))?;
        let (resource, _) = discovery::pinned_kind(client, &gvk)
            .await
            .map_err(|error| format!("{} {name}: {error}", types.kind))?;
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        let applied = api.patch(&name, &PatchParams::apply("samples"), &Patch::Apply(object)).await;
        applied.map_err(|error| format!("{} {name}: {error}", types.kind))?;
    }
    Ok(())
}
