//! The children of a service, as their APIs and as the status lists them.

use elpio_operator::api::{ChildStatus, ElpioService, condition::Condition};
use kube::{Api, ResourceExt, core::DynamicObject};

use crate::live_env::LiveEnv;

impl LiveEnv {
    pub fn knative(&self) -> Api<DynamicObject> {
        self.any("serving.knative.dev/v1", "Service", "services")
    }

    pub fn deployments(&self) -> Api<DynamicObject> {
        self.any("apps/v1", "Deployment", "deployments")
    }

    pub fn http_scaled_objects(&self) -> Api<DynamicObject> {
        self.any("http.keda.sh/v1alpha1", "HTTPScaledObject", "httpscaledobjects")
    }

    pub fn core_services(&self) -> Api<DynamicObject> {
        self.any("v1", "Service", "services")
    }

    pub fn domain_mappings(&self) -> Api<DynamicObject> {
        self.any("serving.knative.dev/v1beta1", "DomainMapping", "domainmappings")
    }

    /// The uids of the three objects of a KEDA service.
    pub async fn keda_uids(&self, name: &str) -> Vec<Option<String>> {
        let mut uids = Vec::new();
        for api in [self.deployments(), self.core_services(), self.http_scaled_objects()] {
            uids.push(api.get(name).await.unwrap().uid());
        }
        uids
    }
}

pub fn find(object: &ElpioService, kind: &str) -> Option<Condition> {
    object.status.as_ref()?.conditions.iter().find(|c| c.type_ == kind).cloned()
}

pub fn children(object: &ElpioService) -> Vec<ChildStatus> {
    object.status.clone().unwrap_or_default().children
}
