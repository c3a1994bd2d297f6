//! The shipped manifests as objects, to be applied as they are or with one change. It sends nothing.

use std::fs;

use elpio_cluster::repository_root;
use kube::{ResourceExt, core::DynamicObject};
use serde_json::{Value, json};

use crate::columns::Kind;

/// The objects of a file below `deploy`.
pub fn read(file: &str) -> Vec<DynamicObject> {
    let path = repository_root().join("deploy").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The name in `install.yaml` of the policy of this kind of object.
pub fn installed_policy(kind: Kind) -> String {
    let objects = read("install.yaml");
    let is_policy = |object: &&DynamicObject| {
        let types = object.types.as_ref();
        types.is_some_and(|types| types.kind == "ValidatingAdmissionPolicy")
            && object.name_any().starts_with(kind.policy())
    };
    objects.iter().find(is_policy).unwrap_or_else(|| panic!("no policy for {}", kind.name())).name_any()
}

/// The name in `install.yaml` of the `ClusterRole` of people who may write Elpio's kinds, and nothing else.
pub fn elpio_edit() -> String {
    let objects = read("install.yaml");
    let label = "rbac.authorization.k8s.io/aggregate-to-edit";
    objects.iter().find(|object| object.labels().contains_key(label)).unwrap().name_any()
}

/// A policy and its binding, from a file below `deploy`.
pub fn policy(file: &str, name: &str) -> Policy {
    let mut objects = read(file).into_iter().filter(|object| object.name_any() == name);
    let (policy, binding) = (objects.next().unwrap(), objects.next().unwrap());
    Policy { policy, binding }
}

/// A policy with its binding.
#[derive(Clone)]
pub struct Policy {
    policy: DynamicObject,
    binding: DynamicObject,
}

impl Policy {
    pub fn spec(&self) -> &Value {
        &self.policy.data["spec"]
    }

    pub fn spec_mut(&mut self) -> &mut Value {
        &mut self.policy.data["spec"]
    }

    pub fn validations(&mut self) -> &mut Vec<Value> {
        self.spec_mut()["validations"].as_array_mut().unwrap()
    }

    /// The expression of a variable.
    pub fn variable(&mut self, name: &str) -> &mut Value {
        let variables = self.spec_mut()["variables"].as_array_mut().unwrap();
        &mut variables.iter_mut().find(|variable| variable["name"] == name).unwrap()["expression"]
    }

    pub fn set_actions(&mut self, actions: &[&str]) {
        self.binding.data["spec"]["validationActions"] = json!(actions);
    }

    /// Under another name, in force in one namespace only.
    pub fn only_in(mut self, namespace: &str) -> Self {
        let name = format!("{}-{namespace}", self.policy.name_any());
        self.policy.metadata.name = Some(name.clone());
        self.binding.metadata.name = Some(name.clone());
        let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
        self.binding.data["spec"]["policyName"] = json!(name);
        self.binding.data["spec"]["matchResources"] = json!({"namespaceSelector": selector});
        self
    }

    pub fn objects(self) -> [DynamicObject; 2] {
        [self.policy, self.binding]
    }
}

/// The field that a validation's message names.
pub fn path(validation: &Value) -> &str {
    validation["message"].as_str().unwrap().split(':').next().unwrap()
}
