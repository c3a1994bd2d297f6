//! Objects that several tests create.

use kube::{
    Client,
    api::{Api, ObjectMeta, Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

pub fn named<T: kube::Resource<DynamicType = ()> + Default>(name: &str) -> T {
    let mut object = T::default();
    *object.meta_mut() = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    object
}

pub fn knative(client: &Client, namespace: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("serving.knative.dev", "v1", "Service"));
    Api::namespaced_with(client.clone(), namespace, &resource)
}

pub fn knative_service(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"template": {"spec": {"containers": [{"image": image}]}}},
    })
}

pub async fn apply(api: &Api<DynamicObject>, object: Value) -> DynamicObject {
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    api.patch(&name, &PatchParams::apply("harness-test"), &Patch::Apply(object)).await.unwrap()
}
