//! The service that a function publishes once an image is there. Pure; the run that builds the image stands
//! in `tekton`.

use kube::{ResourceExt, core::DynamicObject};
use serde::Deserialize;

use crate::{
    api::{annotation, service::Image},
    foreign::ChildKind,
    render::{Child, ChildId, Owner, ValidFunction, child::ChildBuilder, formats},
};

/// An image that a run has built.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BuiltImage {
    /// The run.
    pub run: String,
    /// The image.
    pub image: Image,
}

impl BuiltImage {
    /// What a run of the current inputs built: the image by digest when the run reported one (anything that
    /// is no digest counts as none), else by tag; then the name of the run, which the service puts on its
    /// pods, makes a new revision.
    #[must_use]
    pub fn from_run(valid: &ValidFunction, run: &str, digest: Option<&str>) -> Self {
        let tagged = valid.service.image.clone();
        let image = match digest.map(str::trim).filter(|digest| formats::is_digest(digest)) {
            Some(digest) => {
                Image { repository: tagged.repository, tag: None, digest: Some(digest.to_owned()) }
            }
            None => tagged,
        };
        Self { run: run.to_owned(), image }
    }

    /// What the published service runs: the last good build, whatever the function's current inputs are.
    /// `None` when it carries no build.
    #[must_use]
    pub fn from_service(service: &DynamicObject) -> Option<Self> {
        let run = service.annotations().get(annotation::BUILD)?.clone();
        let image = Image::deserialize(service.data.get("spec")?.get("image")?).ok()?;
        Some(Self { run, image })
    }
}

/// The `ElpioService` of a function, with an image that was built.
#[must_use]
pub fn published_service(owner: &Owner<'_>, valid: &ValidFunction, built: &BuiltImage) -> Child {
    let mut spec = valid.service.clone();
    spec.image = built.image.clone();
    let mut parts = ChildBuilder::new(ChildId::new(ChildKind::ElpioService, &valid.name), spec);
    parts.annotations.insert(annotation::BUILD.to_owned(), built.run.clone());
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
        let image = Image { repository: "old".to_owned(), tag: None, digest: Some("sha256:x".to_owned()) };
        assert_eq!(BuiltImage::from_service(&live), Some(BuiltImage { run: "f-build-1".to_owned(), image }));
    }

    #[test]
    fn a_service_without_a_build_or_an_image_tells_of_none() {
        assert_eq!(
            BuiltImage::from_service(&service(
                json!({"metadata": {}, "spec": {"image": {"repository": "r"}}})
            )),
            None
        );
        assert_eq!(
            BuiltImage::from_service(&service(
                json!({"metadata": {"annotations": {"elpio.io/build": "b"}}, "spec": {}})
            )),
            None
        );
    }
}
