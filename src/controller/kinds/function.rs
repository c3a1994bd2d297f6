//! `ElpioFunction` for the reconciler. Pure: it only connects render and status.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use crate::{
    api::{
        ElpioFunctionSpec, ElpioFunctionStatus, annotation,
        condition::{kind, reason},
        label,
    },
    controller::kinds::{Kind, ReconcileContext},
    foreign::ChildKind,
    render::{
        Defaults, Desired, FieldError, ValidFunction, applied::LiveChildren, check_annotations, duration,
        function, validate_function,
    },
    status::{
        self, Observation, StatusInput, StatusUpdate, build::FinishedBuild, conditions::find_condition,
    },
    telemetry,
};

/// The kind `ElpioFunction`.
#[derive(Debug)]
pub struct Function;

impl Kind for Function {
    type Spec = ElpioFunctionSpec;
    type Status = ElpioFunctionStatus;
    type Valid = ValidFunction;

    const KIND: telemetry::Kind = telemetry::Kind::ElpioFunction;
    const OWNER_LABEL: &'static str = label::FUNCTION;
    const CHILD_KINDS: &'static [ChildKind] =
        &[ChildKind::PipelineRun, ChildKind::TaskRun, ChildKind::ElpioService];
    const SUPPORTS_REBUILD: bool = true;

    fn validate(
        name: &str,
        spec: &Self::Spec,
        annotations: &BTreeMap<String, String>,
        _: Option<&Self::Status>,
        defaults: &Defaults,
    ) -> Result<Self::Valid, Vec<FieldError>> {
        let rebuild =
            annotations.get(annotation::REBUILD).map(String::as_str).filter(|text| !text.is_empty());
        check_annotations(annotations, validate_function(name, spec, rebuild, defaults))
    }

    fn render(ctx: &ReconcileContext<'_>, previous: Option<&Self::Status>, valid: &Self::Valid) -> Desired {
        let traceparent = ctx.rollout.traceparent.as_deref();
        function::plan(&ctx.owner, valid, previous, ctx.live, traceparent, ctx.defaults, ctx.now)
    }

    fn compute_status(
        ctx: &ReconcileContext<'_>,
        previous: Option<&Self::Status>,
        observation: Observation<'_, Self::Valid>,
        input: &StatusInput,
    ) -> StatusUpdate<Self::Status> {
        status::function::compute(&ctx.owner, previous, observation, ctx.grandchildren, input)
    }

    fn finished_builds(live: &LiveChildren, grandchildren: &LiveChildren) -> Vec<FinishedBuild> {
        function::runs(live)
            .into_iter()
            .filter_map(|run| status::build::finished(run, grandchildren))
            .collect()
    }

    fn finished_build<'a>(old: Option<&Self::Status>, new: &'a Self::Status) -> Option<&'a str> {
        let ended = |status: &Self::Status| {
            find_condition(&status.conditions, kind::BUILD_READY)
                .map(|condition| condition.reason.clone())
                .filter(|why| [reason::BUILD_SUCCEEDED, reason::BUILD_FAILED].contains(&why.as_str()))
        };
        let before = old.filter(|old| old.build == new.build).and_then(ended);
        let now = ended(new)?;
        new.build.as_deref().filter(|_| before != Some(now))
    }

    fn extra_rollout_time(spec: &Self::Spec) -> SignedDuration {
        duration::parse(&spec.build.timeout)
            .and_then(|timeout| SignedDuration::try_from(timeout).ok())
            .unwrap_or_default()
    }
}
