//! Validation of the container: image, port, environment, resources, probe. Pure.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        ConfigMapEnvSource, ConfigMapKeySelector, EnvFromSource, EnvVar, EnvVarSource, HTTPGetAction, Probe,
        ResourceRequirements, SecretEnvSource, SecretKeySelector,
    },
    apimachinery::pkg::{api::resource::Quantity as SentQuantity, util::intstr::IntOrString},
};

use crate::{
    api::{
        ElpioServiceSpec, Engine,
        pod::{self, KeyRef, ReadinessProbe, Resources},
        quantity::RawQuantity,
        service::Image,
    },
    foreign::knative::{RESERVED_ENV, RESERVED_PORTS},
    render::{
        formats,
        quantity::Quantity,
        validate::{FieldErrors, ValidPod},
    },
};

/// The pods' service account if the spec names none.
const DEFAULT_ACCOUNT: &str = "default";

/// The container of a service.
pub(super) fn pod(spec: &ElpioServiceSpec, engine: Engine, errors: &mut FieldErrors) -> ValidPod {
    let image = image(&spec.image, errors);
    errors.range("spec.port", spec.port, 1, 65535);
    let port = u16::try_from(spec.port).unwrap_or_default();
    errors.check(engine != Engine::Knative || !RESERVED_PORTS.contains(&port), "spec.port", || {
        format!("{port} is reserved by Knative (8008, 8012, 8013, 8022, 9090, 9091)")
    });
    let account = spec.service_account.as_deref().filter(|name| !name.is_empty()).unwrap_or(DEFAULT_ACCOUNT);
    errors.object_name("spec.serviceAccount", account);
    ValidPod {
        image,
        pinned: spec.image.digest.is_some(),
        port,
        env: env(&spec.env, engine, errors),
        env_from: env_from(&spec.env_from, errors),
        resources: spec
            .resources
            .as_ref()
            .and_then(|resources| requirements("spec.resources", resources, errors)),
        readiness_probe: spec.readiness_probe.as_ref().map(|asked| probe(asked, port, errors)),
        service_account: account.to_owned(),
        image_pull_secrets: image_pull_secrets(&spec.image_pull_secrets, errors),
    }
}

fn image_pull_secrets(names: &[String], errors: &mut FieldErrors) -> Vec<String> {
    let list = "spec.imagePullSecrets";
    errors.at_most(list, names.len(), 10);
    for (index, name) in names.iter().enumerate() {
        let path = format!("{list}[{index}]");
        errors.object_name(&path, &**name);
        errors.check(!names[..index].contains(name), &path, || format!("{name:?} is already in {list}"));
    }
    names.to_vec()
}

/// `repository[:tag][@digest]`.
fn image(image: &Image, errors: &mut FieldErrors) -> String {
    let Image { repository, tag, digest } = image;
    errors.check(formats::is_repository(repository), "spec.image.repository", || {
        format!("{repository:?} must be a repository such as registry.example/team/app, of at most 255 characters: no scheme, no tag, no digest, no capitals in the path")
    });
    errors.check(tag.as_deref().is_none_or(formats::is_image_tag), "spec.image.tag", || {
        "must be 1 to 128 letters, digits, underscores, dots and dashes, beginning with neither dot nor dash".to_owned()
    });
    errors.check(digest.as_deref().is_none_or(formats::is_digest), "spec.image.digest", || {
        "must be sha256: and 64 hexadecimal digits".to_owned()
    });
    let tag = tag.iter().map(|tag| format!(":{tag}"));
    let digest = digest.iter().map(|digest| format!("@{digest}"));
    std::iter::once(repository.clone()).chain(tag).chain(digest).collect()
}

fn env(env: &[pod::EnvVar], engine: Engine, errors: &mut FieldErrors) -> Vec<EnvVar> {
    errors.at_most("spec.env", env.len(), 500);
    errors.unique("spec.env", "name", env.iter().map(|var| Some(var.name.as_str())));
    let valid = |(index, var): (usize, &pod::EnvVar)| {
        let path = format!("spec.env[{index}]");
        let name = format!("{path}.name");
        errors.check(!var.name.is_empty() && formats::is_env_text(&var.name), &name, || {
            "must be 1 to 256 printable ASCII characters without =".to_owned()
        });
        errors.check(engine != Engine::Knative || !RESERVED_ENV.contains(&var.name.as_str()), &name, || {
            format!("{} is a variable that Knative sets itself", var.name)
        });
        let length = var.value.as_deref().map_or(0, str::len);
        errors.check(length <= pod::MAX_ENV_VALUE, &format!("{path}.value"), || {
            format!("must have at most {} bytes, not {length}", pod::MAX_ENV_VALUE)
        });
        errors.check(var.value.is_some() != var.value_from.is_some(), &path, || {
            "exactly one of value and valueFrom must be set".to_owned()
        });
        let value_from =
            var.value_from.as_ref().map(|source| value_source(&format!("{path}.valueFrom"), source, errors));
        EnvVar { name: var.name.clone(), value: var.value.clone(), value_from }
    };
    env.iter().enumerate().map(valid).collect()
}

fn value_source(path: &str, source: &pod::EnvVarSource, errors: &mut FieldErrors) -> EnvVarSource {
    let pod::EnvVarSource { secret_key_ref, config_map_key_ref } = source;
    errors.check(secret_key_ref.is_some() != config_map_key_ref.is_some(), path, || {
        "exactly one of secretKeyRef and configMapKeyRef must be set".to_owned()
    });
    let mut check = |field: &str, key: &KeyRef| {
        errors.object_name(&format!("{path}.{field}.name"), &*key.name);
        errors.data_key(&format!("{path}.{field}.key"), &key.key);
    };
    if let Some(key) = secret_key_ref {
        check("secretKeyRef", key);
    }
    if let Some(key) = config_map_key_ref {
        check("configMapKeyRef", key);
    }
    EnvVarSource {
        secret_key_ref: secret_key_ref.clone().map(|key| SecretKeySelector {
            name: key.name,
            key: key.key,
            optional: key.optional,
        }),
        config_map_key_ref: config_map_key_ref.clone().map(|key| ConfigMapKeySelector {
            name: key.name,
            key: key.key,
            optional: key.optional,
        }),
        ..EnvVarSource::default()
    }
}

fn env_from(sources: &[pod::EnvFrom], errors: &mut FieldErrors) -> Vec<EnvFromSource> {
    errors.at_most("spec.envFrom", sources.len(), 100);
    let valid = |(index, source): (usize, &pod::EnvFrom)| {
        let pod::EnvFrom { prefix, secret_ref, config_map_ref } = source;
        let path = format!("spec.envFrom[{index}]");
        errors.check(prefix.as_deref().is_none_or(formats::is_env_text), &format!("{path}.prefix"), || {
            "must be at most 256 printable ASCII characters without =".to_owned()
        });
        errors.check(secret_ref.is_some() != config_map_ref.is_some(), &path, || {
            "exactly one of secretRef and configMapRef must be set".to_owned()
        });
        for (field, object) in [("secretRef", secret_ref), ("configMapRef", config_map_ref)] {
            errors.object_name(&format!("{path}.{field}.name"), object.as_ref().map(|object| &*object.name));
        }
        EnvFromSource {
            prefix: prefix.clone().filter(|prefix| !prefix.is_empty()),
            secret_ref: secret_ref
                .clone()
                .map(|object| SecretEnvSource { name: object.name, optional: object.optional }),
            config_map_ref: config_map_ref
                .clone()
                .map(|object| ConfigMapEnvSource { name: object.name, optional: object.optional }),
        }
    };
    sources.iter().enumerate().map(valid).collect()
}

/// The resources at `path` in canonical form; `None` if there are none.
pub(super) fn requirements(
    path: &str,
    resources: &Resources,
    errors: &mut FieldErrors,
) -> Option<ResourceRequirements> {
    let requests = amounts(&format!("{path}.requests"), &resources.requests, errors);
    let limits = amounts(&format!("{path}.limits"), &resources.limits, errors);
    for (name, request) in &requests {
        if let Some(limit) = limits.get(name) {
            errors.check(request <= limit, &format!("{path}.requests.{name}"), || {
                format!("{request} is more than the limit, {limit}")
            });
        }
    }
    let sent = |amounts: BTreeMap<String, Quantity>| {
        let sent: BTreeMap<_, _> =
            amounts.into_iter().map(|(name, amount)| (name, SentQuantity(amount.to_string()))).collect();
        Some(sent).filter(|sent| !sent.is_empty())
    };
    (!requests.is_empty() || !limits.is_empty()).then(|| ResourceRequirements {
        requests: sent(requests),
        limits: sent(limits),
        ..ResourceRequirements::default()
    })
}

fn amounts(
    path: &str,
    written: &BTreeMap<String, RawQuantity>,
    errors: &mut FieldErrors,
) -> BTreeMap<String, Quantity> {
    errors.at_most(path, written.len(), 50);
    let mut read = BTreeMap::new();
    for (name, amount) in written {
        let field = format!("{path}.{name}");
        match Quantity::parse(&amount.to_string()) {
            None => errors.add(field, format!("{:?} is not a quantity", amount.to_string())),
            Some(quantity) if quantity.is_negative() => {
                errors.add(field, format!("must be at least 0, not {amount}"));
            }
            Some(quantity) => {
                read.insert(name.clone(), quantity);
            }
        }
    }
    read
}

fn probe(asked: &ReadinessProbe, port: u16, errors: &mut FieldErrors) -> Probe {
    let path = "spec.readinessProbe";
    errors.check(formats::at_most_chars(&asked.path, 2048), &format!("{path}.path"), || {
        "must have at most 2048 characters".to_owned()
    });
    if let Some(delay) = asked.initial_delay_seconds {
        errors.range(&format!("{path}.initialDelaySeconds"), delay, 0, i32::MAX);
    }
    if let Some(period) = asked.period_seconds {
        errors.range(&format!("{path}.periodSeconds"), period, 1, i32::MAX);
    }
    let http_path = if asked.path.is_empty() { "/" } else { &asked.path };
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(http_path.to_owned()),
            port: IntOrString::Int(port.into()),
            ..HTTPGetAction::default()
        }),
        initial_delay_seconds: asked.initial_delay_seconds,
        period_seconds: asked.period_seconds,
        ..Probe::default()
    }
}
