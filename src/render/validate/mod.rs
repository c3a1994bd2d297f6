//! A raw spec becomes a valid type, or the list of all that is wrong with it. Pure; nothing after it reads
//! the raw spec.

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

/// A service whose every field obeys its rule, with the operator's defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidService {
    /// The service's name.
    pub name: String,
    /// The engine that serves.
    pub engine: Engine,
    /// The container.
    pub pod: ValidPod,
    /// The secrets to fetch.
    pub secrets: Vec<ValidSecret>,
    /// The metric that the autoscaler uses.
    pub metric: Metric,
    /// Target value for each replica.
    pub target: u32,
    /// Minimum number of replicas.
    pub min_scale: u32,
    /// Maximum number of replicas, when there is a limit.
    pub max_scale: Option<u32>,
    /// Hard limit on concurrent requests per replica.
    pub concurrency_limit: Option<u32>,
    /// Whether ingress is enabled.
    pub ingress: bool,
    /// Whether it can be called from outside the cluster: ingress enabled and visibility external.
    pub public: bool,
    /// The visibility that was asked for.
    pub visibility: Visibility,
    /// The custom domain.
    pub host: Option<String>,
    /// Whether to request a certificate for the host.
    pub tls: bool,
    /// Who signs it.
    pub issuer: IssuerRef,
    /// How requests are spread over revisions.
    pub traffic: Vec<TrafficTarget>,
}

/// A container whose every field obeys its rule.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidPod {
    /// `repository[:tag][@digest]`.
    pub image: String,
    /// Whether the image has a digest, so that it can never change under its name.
    pub pinned: bool,
    /// The port that it listens on.
    pub port: u16,
    /// Environment variables, in order.
    pub env: Vec<EnvVar>,
    /// Secrets and `ConfigMaps` as environment variables, in order.
    pub env_from: Vec<EnvFromSource>,
    /// Compute resources, in canonical form.
    pub resources: Option<ResourceRequirements>,
    /// How to find out whether it can serve.
    pub readiness_probe: Option<Probe>,
    /// The service account of the pods.
    pub service_account: String,
    /// Names of the Secrets with the credentials to pull the image.
    pub image_pull_secrets: Vec<String>,
}

/// A secret to fetch.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ValidSecret {
    /// Name of the `ExternalSecret` object.
    pub name: String,
    /// What is sent.
    pub spec: ExternalSecretSpec,
}

/// The longest values of the annotations that are read, in characters.
const MAX_ANNOTATIONS: [(&str, usize); 2] = [(annotation::REBUILD, 253), (annotation::TRACEPARENT, 256)];

/// Adds what is wrong with the annotations that are read to what is wrong with the spec.
///
/// # Errors
/// Every error that was found, those of the annotations first.
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

/// Checks every rule of a spec: those of the schema again, since an object may be older than it, and those
/// that need the engine. `current_engine` is the one that serves already: a spec that names none keeps it.
///
/// # Errors
/// Every error that was found, in the order of the fields.
pub fn validate(
    name: &str,
    spec: &ElpioServiceSpec,
    current_engine: Option<Engine>,
    defaults: &Defaults,
) -> Result<ValidService, Vec<FieldError>> {
    let mut errors = FieldErrors::default();
    let engine = defaults.engine_for(spec.engine, current_engine);
    errors.check(formats::is_dns_1035_label(name, 63), "metadata.name", || {
        "must be a DNS-1035 label of at most 63 characters".to_owned()
    });
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
