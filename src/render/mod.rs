//! Pure: renders a valid spec into its children. No client, no clock, no tracing; nothing after `validate`
//! reads the raw spec.

pub mod applied;
pub(crate) mod child;
pub mod drift;
pub mod duration;
pub mod field_managers;
pub mod formats;
pub mod function;
pub(crate) mod keda;
mod knative;
mod pod;
pub mod quantity;
pub mod service;
pub mod validate;

pub use crate::render::child::{Child, ChildId, Owner, WriteMode};
pub use crate::render::function::inputs::BuildInputs;
pub use crate::render::function::pipeline_run::pipeline_run;
pub use crate::render::function::published::{published_service, served_build};
pub use crate::render::service::render;
pub use crate::render::validate::{
    FieldError, ValidFunction, ValidPod, ValidSecret, ValidService, check_annotations, validate,
    validate_function,
};

use jiff::Timestamp;

use crate::{
    api::{Engine, defaults, policy::PodSecurity},
    render::function::build_plan::BuildPlan,
};

/// The values for fields that an object omits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Defaults {
    /// The engine (`ELPIO_ENGINE`).
    pub engine: Engine,
    /// The name of the `ClusterIssuer` (`ELPIO_CLUSTER_ISSUER`).
    pub cluster_issuer: String,
    /// The served version of `ExternalSecret`: `v1` or `v1beta1`.
    pub external_secrets_version: String,
    /// The image that fetches a function's source (`ELPIO_FETCH_IMAGE`).
    pub fetch_image: String,
    /// The URL of the HTTP add-on's interceptor (`ELPIO_KEDA_INTERCEPTOR`).
    pub keda_interceptor: String,
    /// The `securityContext` for pods (`ELPIO_POD_SECURITY`).
    pub pod_security: PodSecurity,
}

impl Defaults {
    /// The engine of a service: the one in its spec, else the one in use, else the default.
    #[must_use]
    pub fn engine_for(&self, named: Option<Engine>, current: Option<Engine>) -> Engine {
        named.or(current).unwrap_or(self.engine)
    }
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            engine: Engine::Knative,
            cluster_issuer: defaults::CLUSTER_ISSUER.to_owned(),
            external_secrets_version: "v1".to_owned(),
            fetch_image: defaults::FETCH_IMAGE.to_owned(),
            keda_interceptor: defaults::KEDA_INTERCEPTOR.to_owned(),
            pod_security: PodSecurity::default(),
        }
    }
}

/// The desired state of a valid spec.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// The children, in apply order.
    pub children: Vec<Child>,
    /// The fields that the engine does not support.
    pub ignored: Vec<IgnoredField>,
    /// The decision about a function's builds, for its status.
    pub build: Option<BuildPlan>,
    /// When to render again without any change: when a delayed build is due.
    pub due_at: Option<Timestamp>,
}

/// A field that the engine does not support.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IgnoredField {
    /// The field, such as `ingress.tls`.
    pub field: &'static str,
    /// Why it has no effect.
    pub why: String,
}
