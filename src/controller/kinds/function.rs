//! `ElpioFunction` as the pipeline sees it. Pure: it joins render and status, no more.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use crate::{
    api::{ElpioFunctionSpec, ElpioFunctionStatus, RolloutStatus, annotation, condition::Condition, label},
    controller::kinds::{Kind, ReconcileContext},
    foreign::ChildKind,
    render::{
        Defaults, Desired, FieldError, ValidFunction, applied::LiveChildren, duration, function,
        validate_function,
    },
    status::{self, Observation, StatusInput, StatusUpdate, build::FinishedBuild},
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
        defaults: &Defaults,
    ) -> Result<Self::Valid, Vec<FieldError>> {
        let rebuild =
            annotations.get(annotation::REBUILD).map(String::as_str).filter(|text| !text.is_empty());
        validate_function(name, spec, rebuild, defaults)
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

    fn finished_builds(live: &LiveChildren, details: &LiveChildren) -> Vec<FinishedBuild> {
        function::runs(live).into_iter().filter_map(|run| status::build::finished(run, details)).collect()
    }

    fn extra_rollout_time(spec: &Self::Spec) -> SignedDuration {
        duration::parse(&spec.build.timeout)
            .and_then(|timeout| SignedDuration::try_from(timeout).ok())
            .unwrap_or_default()
    }

    fn observed_generation(status: &Self::Status) -> Option<i64> {
        status.observed_generation
    }

    fn conditions(status: &Self::Status) -> &[Condition] {
        &status.conditions
    }

    fn rollout(status: &Self::Status) -> Option<&RolloutStatus> {
        status.rollout.as_ref()
    }

    fn engine(_: &Self::Status) -> Option<&'static str> {
        // The service that it publishes has one.
        None
    }
}
