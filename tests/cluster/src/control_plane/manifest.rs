//! Reads objects from YAML files and applies them unmodified. It knows no project.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kube::{
    Client, ResourceExt as _,
    api::{Api, Patch, PatchParams},
    core::{DynamicObject, GroupVersionKind},
    discovery::{self, Scope},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::control_plane::Cluster;

impl Cluster {
    /// Server-side apply of these objects, in their order, as the administrator.
    ///
    /// # Panics
    /// If the API server rejects one.
    pub async fn apply_objects(&self, objects: &[DynamicObject]) {
        let client = self.client().await;
        for object in objects {
            apply(&client, object).await;
        }
    }
}

/// The documents of a YAML file, or of all files in a directory, without empty ones.
///
/// # Panics
/// If there are none, or one cannot be parsed.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    let documents: Vec<T> = files(path)
        .iter()
        .flat_map(|file| {
            let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            parse(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
        })
        .collect();
    assert!(!documents.is_empty(), "{} has no documents", path.display());
    documents
}

/// The documents of a YAML text, without empty ones.
///
/// # Errors
/// If one cannot be parsed.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, String> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| error.to_string())?;
    let documents = documents.into_iter().filter(|document| !document.is_null());
    documents.map(|document| serde_json::from_value(document).map_err(|error| error.to_string())).collect()
}

/// Server-side apply of an object with kind and, if namespaced, namespace.
///
/// # Panics
/// If the API server rejects it.
pub(crate) async fn apply(client: &Client, object: &DynamicObject) {
    let name = object.name_any();
    let types = object.types.as_ref().unwrap_or_else(|| panic!("{name} has no kind"));
    let gvk = GroupVersionKind::try_from(types).unwrap_or_else(|error| panic!("{name}: {error}"));
    let found = discovery::pinned_kind(client, &gvk).await;
    let (resource, capabilities) = found.unwrap_or_else(|error| panic!("{} {name}: {error}", types.kind));
    let api: Api<DynamicObject> = match (&capabilities.scope, object.namespace()) {
        (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(client.clone(), &namespace, &resource),
        (Scope::Namespaced, None) => panic!("{} {name} has no namespace", types.kind),
        (Scope::Cluster, _) => Api::all_with(client.clone(), &resource),
    };
    let applied = api.patch(&name, &PatchParams::apply("elpio-cluster").force(), &Patch::Apply(object)).await;
    applied.unwrap_or_else(|error| panic!("{} {name}: {error}", types.kind));
}

fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let is_manifest = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".yaml") && !name.starts_with("kustomization")
    };
    let mut files: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_manifest).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_empty_documents_are_skipped_and_quoted_words_stay_strings() {
        let text =
            "# a licence\n---\nkind: A\ndata: {on: \"true\", n: \"1\"}\n---\n# nothing\n---\nkind: B\n";
        let documents: Vec<Value> = parse(text).unwrap();
        assert_eq!(
            documents,
            [
                serde_json::json!({"kind": "A", "data": {"on": "true", "n": "1"}}),
                serde_json::json!({"kind": "B"})
            ]
        );
    }
}
