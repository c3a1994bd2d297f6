//! Edits objects that controllers write too.

use std::fmt::Debug;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, api::PostParams};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

/// Reads an object, changes it and replaces it; again where something wrote it in between.
///
/// # Panics
/// If the API server refuses it for another reason than a conflict, or after 20 conflicts.
pub async fn edit<K>(api: &Api<K>, name: &str, change: impl Fn(&mut K)) -> K
where
    K: Clone + Debug + Serialize + DeserializeOwned,
{
    for _ in 0..20 {
        let mut object = api.get(name).await.unwrap_or_else(|error| panic!("{name} is not read: {error}"));
        change(&mut object);
        match api.replace(name, &PostParams::default(), &object).await {
            Err(kube::Error::Api(status)) if status.is_conflict() => {}
            replaced => {
                return replaced.unwrap_or_else(|error| panic!("{name} is not replaced: {error}"));
            }
        }
    }
    panic!("{name} was written by something else each of 20 times");
}

/// Makes Elpio's CRD accept everything, as in a cluster whose objects are older than the schema.
///
/// # Panics
/// If the API server refuses it.
pub async fn open_schema(client: &Client, name: &str) {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": open, "status": open}}});
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    edit(&api, name, |crd| {
        for version in &mut crd.spec.versions {
            version.schema = Some(serde_json::from_value(schema.clone()).expect("a schema"));
        }
        crd.metadata.managed_fields = None;
    })
    .await;
}
