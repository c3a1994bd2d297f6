//! The fragments of a pod that both engines share. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ContainerPort};

use crate::{
    api::annotation,
    render::{Owner, ValidService},
};

/// The one container.
pub(super) fn container(name: &str, valid: &ValidService) -> Container {
    let pod = &valid.pod;
    Container {
        name: name.to_owned(),
        image: Some(pod.image.clone()),
        ports: Some(vec![ContainerPort { container_port: pod.port.into(), ..ContainerPort::default() }]),
        env: Some(pod.env.clone()).filter(|env| !env.is_empty()),
        env_from: Some(pod.env_from.clone()).filter(|sources| !sources.is_empty()),
        resources: pod.resources.clone(),
        readiness_probe: pod.readiness_probe.clone(),
        ..Container::default()
    }
}

/// Annotations of the pod template: the run that built the image, when the image's own name does not change
/// with a build.
pub(super) fn annotations(owner: &Owner<'_>, valid: &ValidService) -> BTreeMap<String, String> {
    let build = owner.build.filter(|_| !valid.pod.pinned);
    build.map(|run| (annotation::BUILD.to_owned(), run.to_owned())).into_iter().collect()
}
