//! Which engine serves a service. A closed set of words, no more.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::attribute_values::attribute_values;

attribute_values! {
    /// Which engine serves. Absent in a spec: the operator's `ELPIO_ENGINE`, as it is when the object is first reconciled.
    #[derive(Deserialize, JsonSchema, Serialize)]
    #[serde(rename_all = "lowercase")]
    Engine {
        /// Knative Serving.
        Knative = "knative",
        /// KEDA, with its HTTP add-on for `concurrency` and `rps`.
        Keda = "keda",
    }
}
