//! Validates a raw spec: returns a valid type or all errors. Pure; no later step reads the raw spec.

mod container;
pub(in crate::render) mod field_error;
mod function;
mod network;
mod secrets;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, Probe, ResourceRequirements};

use crate::{
    api::{
        ElpioServiceSpec, Engine, annotation,
        network::{Metric, Visibility},
    },
    foreign::{cert_manager::IssuerRef, external_secrets::ExternalSecretSpec, knative::TrafficTarget},
    render::{Defaults, formats},
};

pub use crate::render::validate::field_error::FieldError;
pub(crate) use crate::render::validate::field_error::FieldErrors;
pub use crate::render::validate::function::{ValidFunction, validate_function};

/// A service that passed validation, with the operator's defaults applied.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidService {
    /// The service's name.
    pub name: String,
    /// The engine that serves it.
    pub engine: Engine,
    /// The container.
    pub pod: ValidPod,
    /// The secrets to fetch.
    pub secrets: Vec<ValidSecret>,
    /// The metric that the autoscaler uses.
    pub metric: Metric,
    /// The target value per replica.
    pub target: u32,
    /// Minimum number of replicas.
    pub min_scale: u32,
    /// The maximum number of replicas, if limited.
    pub max_scale: Option<u32>,
    /// Hard limit on concurrent requests per replica.
    pub concurrency_limit: Option<u32>,
    /// Whether ingress is enabled.
    pub ingress: bool,
    /// Whether it is reachable from outside the cluster: ingress enabled and visibility external.
    pub public: bool,
    /// The requested visibility.
    pub visibility: Visibility,
    /// The custom domain.
    pub host: Option<String>,
    /// Whether to request a certificate for the host.
    pub tls: bool,
    /// The issuer of the certificate.
    pub issuer: IssuerRef,
    /// How requests are split between revisions.
    pub traffic: Vec<TrafficTarget>,
}

/// A container that passed validation.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidPod {
    /// `repository[:tag][@digest]`.
    pub image: String,
    /// Whether the image has a digest, so that it is immutable.
    pub pinned: bool,
    /// The port on which it listens.
    pub port: u16,
    /// Environment variables, in order.
    pub env: Vec<EnvVar>,
    /// Secrets and `ConfigMaps` as environment variables, in order.
    pub env_from: Vec<EnvFromSource>,
    /// Compute resources, in canonical form.
    pub resources: Option<ResourceRequirements>,
    /// The readiness probe.
    pub readiness_probe: Option<Probe>,
    /// The service account of the pods.
    pub service_account: String,
    /// The names of the Secrets with the pull credentials.
    pub image_pull_secrets: Vec<String>,
}

/// A secret to fetch.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ValidSecret {
    /// The name of the `ExternalSecret` object.
    pub name: String,
    /// The spec of the object.
    pub spec: ExternalSecretSpec,
}

/// The annotations that Elpio reads, and their maximum length in characters.
const MAX_ANNOTATIONS: [(&str, usize); 2] = [(annotation::REBUILD, 253), (annotation::TRACEPARENT, 256)];

/// Validates the annotations that Elpio reads, and adds their errors to those of the spec.
///
/// # Errors
/// Every error found, those of the annotations first.
pub fn check_annotations<T>(
    annotations: &BTreeMap<String, String>,
    valid: Result<T, Vec<FieldError>>,
) -> Result<T, Vec<FieldError>> {
    let mut errors = FieldErrors::default();
    for (name, max) in MAX_ANNOTATIONS {
        let fits = annotations.get(name).is_none_or(|value| formats::at_most_chars(value, max));
        errors.check(fits, &format!("metadata.annotations[{name}]"), || {
            format!("must have at most {max} characters")
        });
    }
    match (errors.into_result(), valid) {
        (Ok(()), valid) => valid,
        (Err(errors), Ok(_)) => Err(errors),
        (Err(errors), Err(more)) => Err(errors.into_iter().chain(more).collect()),
    }
}

/// Validates a spec: the schema's rules again, because the object may be older than the schema, and the rules
/// that depend on the engine. `current_engine` is the engine in use, which a spec without one keeps.
///
/// # Errors
/// Every error found, in the order of the fields.
pub fn validate(
    name: &str,
    spec: &ElpioServiceSpec,
    current_engine: Option<Engine>,
    defaults: &Defaults,
) -> Result<ValidService, Vec<FieldError>> {
    let mut errors = FieldErrors::default();
    let engine = defaults.engine_for(spec.engine, current_engine);
    errors.dns_label("metadata.name", name, 63);
    let pod = container::pod(spec, engine, &mut errors);
    let tls_secret = spec.ingress.tls.then(|| formats::tls_secret(name));
    let secrets = secrets::external_secrets(&spec.external_secrets, tls_secret.as_deref(), &mut errors);
    network::scaling(spec, engine, &mut errors);
    network::ingress(&spec.ingress, &mut errors);
    let traffic = network::traffic(&spec.traffic, engine, &mut errors);
    errors.into_result()?;
    let scaling = &spec.scaling;
    let ingress = &spec.ingress;
    Ok(ValidService {
        name: name.to_owned(),
        engine,
        pod,
        secrets,
        metric: scaling.metric,
        target: scaling.target.unsigned_abs(),
        min_scale: scaling.min_scale.unsigned_abs(),
        max_scale: Some(scaling.max_scale.unsigned_abs()).filter(|max| *max > 0),
        concurrency_limit: scaling.concurrency_limit.map(i32::unsigned_abs),
        ingress: ingress.enabled,
        public: ingress.enabled && ingress.visibility == Visibility::External,
        visibility: ingress.visibility,
        host: ingress.host.clone(),
        tls: ingress.tls,
        issuer: network::issuer(ingress, defaults),
        traffic,
    })
}
