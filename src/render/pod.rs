//! The parts of a pod that both engines share. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, LocalObjectReference, SeccompProfile, SecurityContext,
};

use crate::{
    api::{annotation, policy::PodSecurity},
    foreign::knative::PORT_ENV,
    render::{Owner, ValidService},
};

/// The lowest port that an unprivileged process may bind.
const FIRST_UNPRIVILEGED_PORT: u16 = 1024;

/// The one container.
pub(super) fn container(name: &str, valid: &ValidService, security: PodSecurity) -> Container {
    let pod = &valid.pod;
    Container {
        name: name.to_owned(),
        image: Some(pod.image.clone()),
        ports: Some(vec![ContainerPort { container_port: pod.port.into(), ..ContainerPort::default() }]),
        env: Some(pod.env.clone()).filter(|env| !env.is_empty()),
        env_from: Some(pod.env_from.clone()).filter(|sources| !sources.is_empty()),
        resources: pod.resources.clone(),
        readiness_probe: pod.readiness_probe.clone(),
        security_context: security_context(security, pod.port),
        ..Container::default()
    }
}

/// The environment followed by `PORT`, as on Knative; a user's own `PORT` wins.
pub(super) fn env_with_port(valid: &ValidService) -> Vec<EnvVar> {
    let own = valid.pod.env.iter().any(|var| var.name == PORT_ENV);
    let port =
        EnvVar { name: PORT_ENV.to_owned(), value: Some(valid.pod.port.to_string()), ..EnvVar::default() };
    valid.pod.env.iter().cloned().chain((!own).then_some(port)).collect()
}

/// The Secrets with the pull credentials.
pub(super) fn image_pull_secrets(valid: &ValidService) -> Vec<LocalObjectReference> {
    valid.pod.image_pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() }).collect()
}

/// What Knative's `secure-pod-defaults` sets in a container without its own security context.
/// Source: `defaultSecurityContext` in knative.dev/serving `pkg/apis/serving/v1/revision_defaults.go`.
fn security_context(security: PodSecurity, port: u16) -> Option<SecurityContext> {
    let low_port = || vec!["NET_BIND_SERVICE".to_owned()];
    (security != PodSecurity::Disabled).then(|| SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            add: (port < FIRST_UNPRIVILEGED_PORT).then(low_port),
        }),
        run_as_non_root: (security == PodSecurity::Enabled).then_some(true),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        ..SecurityContext::default()
    })
}

/// The pod template's annotations: the run that built the image, if a build does not change the image's name.
pub(super) fn annotations(owner: &Owner<'_>, valid: &ValidService) -> BTreeMap<String, String> {
    let build = owner.build.filter(|_| !valid.pod.pinned);
    build.map(|run| (annotation::BUILD.to_owned(), run.to_owned())).into_iter().collect()
}
