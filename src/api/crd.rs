//! The `CustomResourceDefinition`s, as `deploy/crds/` and `elpio-operator crds` show them. Nothing here talks
//! to a cluster.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::Value;

use crate::api::{function::ElpioFunction, service::ElpioService};

/// Every definition with the name of its file, `elpio.io_<plural>.yaml`.
#[must_use]
pub fn crds() -> Vec<(String, CustomResourceDefinition)> {
    [ElpioService::crd(), ElpioFunction::crd()]
        .into_iter()
        .map(|mut crd| {
            for version in &mut crd.spec.versions {
                if let Some(root) =
                    version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut())
                {
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
pub fn to_yaml(crd: &CustomResourceDefinition) -> Result<String, CrdError> {
    let mut value = serde_json::to_value(crd)?;
    whole_numbers(&mut value);
    Ok(serde_saphyr::to_string(&value)?)
}

/// A definition could not be written.
#[derive(Debug, thiserror::Error)]
pub enum CrdError {
    /// Not as JSON.
    #[error("a definition cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// Not as YAML.
    #[error("a definition cannot be written as YAML")]
    Yaml(#[from] serde_saphyr::ser::Error),
}

/// Writes `1` rather than `1.0`: bounds are floating-point numbers in the type, and integers in every
/// definition that people read.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Object(map) => map.values_mut().for_each(whole_numbers),
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Number(number) => {
            // A whole number is written without a point, and then parses as an integer.
            if let Some(whole) = number
                .as_f64()
                .filter(|_| number.is_f64())
                .and_then(|float| float.to_string().parse::<i64>().ok())
            {
                *value = whole.into();
            }
        }
        _ => {}
    }
}

/// Takes out what the derive adds and a schema does not need: `nullable` (the API server drops a null all the
/// same, and a default then takes its place) and number formats that only repeat the type.
fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if schema.type_.as_deref() == Some("number")
        || schema.format.as_deref().is_some_and(|format| format.starts_with("uint"))
    {
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

#[cfg(test)]
#[path = "crd_test.rs"]
mod tests;
