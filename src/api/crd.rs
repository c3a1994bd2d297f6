//! The CustomResourceDefinitions, as `deploy/crds/` and `elpio-operator crds` show them. Nothing here talks to a cluster.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use super::service::ElpioService;

/// Every definition with the name of its file, `elpio.io_<plural>.yaml`.
#[must_use]
pub fn crds() -> Vec<(String, CustomResourceDefinition)> {
    [ElpioService::crd()]
        .into_iter()
        .map(|mut crd| {
            for version in &mut crd.spec.versions {
                if let Some(root) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
                    tidy(root);
                }
            }
            (format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural), crd)
        })
        .collect()
}

/// One definition as YAML.
///
/// # Errors
/// When the definition cannot be written as YAML, which would be a fault of the serializer.
pub fn to_yaml(crd: &CustomResourceDefinition) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(crd)
}

/// Takes out what the derive adds and a schema does not need: `nullable` (the API server drops a null all the same, and a default then
/// takes its place) and number formats that only repeat the type.
fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if schema.type_.as_deref() == Some("number") || schema.format.as_deref().is_some_and(|format| format.starts_with("uint")) {
        schema.format = None;
    }
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        tidy(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = schema.items.as_mut() {
        tidy(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = schema.additional_properties.as_mut() {
        tidy(values);
    }
}
