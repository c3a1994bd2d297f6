//! The children of an `ElpioService` on either engine. Pure.

use crate::{
    api::Engine,
    foreign::ChildKind,
    render::{
        Child, ChildId, Defaults, Desired, Owner, ValidSecret, ValidService, child::ChildBuilder, keda,
        knative,
    },
};

/// The children of a valid service, in apply order.
#[must_use]
pub fn render(owner: &Owner<'_>, valid: &ValidService, defaults: &Defaults) -> Desired {
    let mut children = external_secrets(owner, valid, defaults);
    let (engine, ignored) = match valid.engine {
        Engine::Knative => (knative::children(owner, valid, defaults), Vec::new()),
        Engine::Keda => (keda::children(owner, valid, defaults), keda::ignored(valid)),
    };
    children.extend(engine);
    Desired { children, ignored, ..Desired::default() }
}

/// One `ExternalSecret` per secret, in the version that the cluster serves.
fn external_secrets(owner: &Owner<'_>, valid: &ValidService, defaults: &Defaults) -> Vec<Child> {
    let child = |secret: &ValidSecret| {
        let mut parts =
            ChildBuilder::new(ChildId::new(ChildKind::ExternalSecret, &secret.name), secret.spec.clone());
        parts.version.clone_from(&defaults.external_secrets_version);
        parts.build(owner)
    };
    valid.secrets.iter().map(child).collect()
}
