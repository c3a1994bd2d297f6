//! CEL rules for the schema, each with a message that names the field.

use serde_json::{Value, json};

use crate::api::pattern::REPOSITORY;

/// A rule on the value that it is attached to.
pub(super) fn rule(cel: &str, message: &str) -> Value {
    json!({ "rule": cel, "message": message })
}

/// A rule whose failure is reported at a field below, as `.host`.
pub(super) fn rule_at(field_path: &str, cel: &str, message: &str) -> Value {
    json!({ "rule": cel, "message": message, "fieldPath": field_path })
}

/// A port that Knative reserves, where the engine is Knative by name.
pub(super) fn knative_port() -> Value {
    rule_at(
        ".port",
        "!has(self.engine) || self.engine != 'knative' || !(self.port in [8008, 8012, 8013, 8022, 9090, 9091])",
        "port must not be one that Knative reserves: 8008, 8012, 8013, 8022, 9090, 9091",
    )
}

/// A variable that Knative sets itself, where the engine is Knative by name.
pub(super) fn knative_env() -> Value {
    rule_at(
        ".env",
        "!has(self.engine) || self.engine != 'knative' || !has(self.env) || self.env.all(e, !(e.name in ['PORT', 'K_SERVICE', 'K_CONFIGURATION', 'K_REVISION']))",
        "env must not name a variable that Knative sets: PORT, K_SERVICE, K_CONFIGURATION, K_REVISION",
    )
}

/// Without a request or a limit there is nothing that percent of cpu could mean, where the engine is KEDA by
/// name.
pub(super) fn keda_cpu() -> Value {
    rule_at(
        ".scaling",
        "!has(self.engine) || self.engine != 'keda' || self.scaling.metric != 'cpu' || (has(self.resources) && ((has(self.resources.requests) && 'cpu' in self.resources.requests) || (has(self.resources.limits) && 'cpu' in self.resources.limits)))",
        "scaling.metric cpu on KEDA needs resources.requests.cpu or resources.limits.cpu",
    )
}

/// A split that is thrown away must not read as done, where the engine is KEDA by name.
pub(super) fn keda_traffic() -> Value {
    rule_at(
        ".traffic",
        "!has(self.engine) || self.engine != 'keda' || !has(self.traffic) || size(self.traffic) == 0",
        "traffic needs engine knative: a Deployment has no revisions to split requests over",
    )
}

/// A repository by the grammar of distribution references; a rule rather than a pattern, since its message is
/// for people.
pub(super) fn repository() -> Value {
    rule(
        &format!("self.matches(r'{REPOSITORY}')"),
        "image.repository must be a repository such as registry.example/team/app: no scheme, no tag, no digest, no capitals in the path",
    )
}
