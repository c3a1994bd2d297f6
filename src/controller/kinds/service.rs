//! `ElpioService` for the reconciler. Pure: it only connects render and status.

use std::collections::BTreeMap;

use crate::{
    api::{ElpioServiceSpec, ElpioServiceStatus, label},
    controller::{
        kinds::{Kind, ReconcileContext},
        workqueue::Lane,
    },
    foreign::ChildKind,
    render::{self, Defaults, Desired, FieldError, ValidService},
    status::{self, Observation, StatusInput, StatusUpdate},
    telemetry,
};

/// The kind `ElpioService`.
#[derive(Debug)]
pub struct Service;

impl Kind for Service {
    type Spec = ElpioServiceSpec;
    type Status = ElpioServiceStatus;
    type Valid = ValidService;

    const KIND: telemetry::Kind = telemetry::Kind::ElpioService;
    const OWNER_LABEL: &'static str = label::SERVICE;
    const CHILD_KINDS: &'static [ChildKind] = &[
        ChildKind::ExternalSecret,
        ChildKind::Certificate,
        ChildKind::KnativeService,
        ChildKind::DomainMapping,
        ChildKind::Deployment,
        ChildKind::Service,
        ChildKind::HttpScaledObject,
        ChildKind::ScaledObject,
    ];

    fn validate(
        name: &str,
        spec: &Self::Spec,
        annotations: &BTreeMap<String, String>,
        previous: Option<&Self::Status>,
        defaults: &Defaults,
    ) -> Result<Self::Valid, Vec<FieldError>> {
        let current_engine = previous.and_then(|status| status.engine);
        render::check_annotations(annotations, render::validate(name, spec, current_engine, defaults))
    }

    fn render(ctx: &ReconcileContext<'_>, _: Option<&Self::Status>, valid: &Self::Valid) -> Desired {
        render::render(&ctx.owner, valid, ctx.defaults)
    }

    fn host(spec: &Self::Spec) -> Option<&str> {
        spec.ingress.host.as_deref()
    }

    fn lane(spec: Option<&Self::Spec>, previous: Option<&Self::Status>, defaults: &Defaults) -> Lane {
        let (named, current) = (spec.and_then(|spec| spec.engine), previous.and_then(|status| status.engine));
        defaults.engine_for(named, current) as Lane
    }

    fn compute_status(
        ctx: &ReconcileContext<'_>,
        previous: Option<&Self::Status>,
        observation: Observation<'_, Self::Valid>,
        input: &StatusInput,
    ) -> StatusUpdate<Self::Status> {
        status::service::compute(&ctx.owner, previous, observation, input, ctx.defaults)
    }
}
