//! The service that a function publishes once it has an image. Pure; `build_plan` decides which build it runs.

use kube::{ResourceExt, core::DynamicObject};
use serde::Deserialize;

use crate::{
    api::{ServedBuild, annotation, service::Image},
    foreign::{ChildKind, fields},
    render::{
        Child, ChildId, Owner, ValidFunction,
        child::ChildBuilder,
        formats,
        function::{digest, pipeline_run::APP_IMAGE},
    },
};

/// The result of a run for the current inputs: the image by digest if the run reported a valid one, else by
/// tag. In the latter case, the service puts the run's name on its pods, which creates a new revision.
#[must_use]
pub fn served_build(valid: &ValidFunction, run: &str, digest: Option<&str>) -> ServedBuild {
    let Image { repository, tag, .. } = valid.service.image.clone();
    let digest = digest.map(str::trim).filter(|digest| formats::is_digest(digest)).map(str::to_owned);
    ServedBuild { build: run.to_owned(), repository, tag: tag.filter(|_| digest.is_none()), digest }
}

/// The result of a run whatever the current inputs are: the image that the run was to push.
#[must_use]
pub fn built_by(valid: &ValidFunction, run: &DynamicObject) -> ServedBuild {
    let served = served_build(valid, &run.name_any(), digest(run));
    let Some((repository, tag)) =
        fields::named_value(&run.data, "/spec/params", APP_IMAGE).map(formats::split_tag)
    else {
        return served;
    };
    let tag = tag.map(str::to_owned).filter(|_| served.digest.is_none());
    ServedBuild { repository: repository.to_owned(), tag, ..served }
}

/// The build that a published service runs, if it names one.
///
/// Only for a function whose status has no build: anybody may have edited the service.
#[must_use]
pub fn served_by(service: &DynamicObject) -> Option<ServedBuild> {
    let build = service.annotations().get(annotation::BUILD)?.clone();
    let Image { repository, tag, digest } =
        Image::deserialize(service.data.get("spec")?.get("image")?).ok()?;
    Some(ServedBuild { build, repository, tag, digest })
}

/// The `ElpioService` of a function, with a built image.
#[must_use]
pub fn published_service(owner: &Owner<'_>, valid: &ValidFunction, served: &ServedBuild) -> Child {
    let mut spec = valid.service.clone();
    spec.image = served.image();
    let mut parts = ChildBuilder::new(ChildId::new(ChildKind::ElpioService, &valid.name), spec);
    parts.annotations.insert(annotation::BUILD.to_owned(), served.build.clone());
    parts.build(owner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn service(value: serde_json::Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_last_good_build_is_what_the_service_runs() {
        let live = service(json!({
            "metadata": {"name": "f", "annotations": {"elpio.io/build": "f-build-1"}},
            "spec": {"image": {"repository": "old", "digest": "sha256:x"}, "port": 1},
        }));
        let served = ServedBuild {
            build: "f-build-1".to_owned(),
            repository: "old".to_owned(),
            tag: None,
            digest: Some("sha256:x".to_owned()),
        };
        assert_eq!(served_by(&live), Some(served));
    }

    #[test]
    fn a_service_without_a_build_or_an_image_serves_none() {
        let without_build = json!({"metadata": {}, "spec": {"image": {"repository": "r"}}});
        let without_image = json!({"metadata": {"annotations": {"elpio.io/build": "b"}}, "spec": {}});
        for value in [without_build, without_image] {
            assert_eq!(served_by(&service(value)), None);
        }
    }
}
