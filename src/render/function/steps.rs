//! The steps of a build: the source, the phases of the Cloud Native Buildpacks lifecycle, the digest. Pure.
//!
//! Each phase is a separate step, so that the code of buildpacks runs without mounted credentials.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, EmptyDirVolumeSource, EnvVar, ResourceRequirements, SeccompProfile, SecurityContext,
        Volume, VolumeMount,
    },
    apimachinery::pkg::api::resource::Quantity,
};

use crate::{
    foreign::tekton::{Step, StepWorkspace},
    render::{
        Defaults, ValidFunction,
        function::pipeline_run::{APP_IMAGE, BUILD_GROUP, CAUSE, REGISTRY},
    },
};

/// A Platform API version that lifecycles since 0.14 support, and that has every flag used here.
const PLATFORM_API: &str = "0.10";

/// The directories of the source and the build environment.
const SOURCE: &str = "/workspace/source";
const APP: &str = "/workspace/source/app";
const PLATFORM: &str = "/workspace/source/platform";
const LAYERS: &str = "/layers";
/// Where a builder image keeps the lifecycle binaries.
const LIFECYCLE: &str = "/cnb/lifecycle";
const REPORT: &str = "/layers/report.toml";
/// Where the push credentials are mounted, in the steps that need them.
const CREDENTIALS: &str = "/workspace/registry";
/// The home directory that Tekton gives every step.
const HOME: &str = "/tekton/home";

/// The parameters of the first step's script, besides its directories.
const FETCH_PARAMS: [&str; 6] =
    ["SOURCE_URL", "SOURCE_REVISION", "SOURCE_SUBPATH", "SOURCE_ARCHIVE", "ENTRYPOINT", "RUNTIME"];

/// The steps, in order.
pub(super) fn steps(valid: &ValidFunction, defaults: &Defaults) -> Vec<Step> {
    let app = || format!("-app={APP}");
    let layers = || format!("-layers={LAYERS}");
    let platform = || format!("-platform={PLATFORM}");
    let report = || format!("-report={REPORT}");
    let mut steps = vec![
        fetch(defaults),
        with_image(phase("analyze", "analyzer", vec![layers()])),
        phase("detect", "detector", vec![app(), layers(), platform()]),
        phase("restore", "restorer", vec![layers()]),
        phase("build", "builder", vec![app(), layers(), platform()]),
        with_image(phase("export", "exporter", vec![app(), layers(), report()])),
        digest(),
    ];
    for step in &mut steps {
        let default = if step.name == "build" { BUILD_RESOURCES } else { STEP_RESOURCES };
        step.compute_resources = valid.build_resources.clone().unwrap_or_else(|| resources(&default));
        if valid.inputs.push_secret.is_some() && ["analyze", "restore", "export"].contains(&step.name) {
            step.workspaces = vec![StepWorkspace { name: REGISTRY, mount_path: CREDENTIALS }];
            step.env.push(env_var("DOCKER_CONFIG", CREDENTIALS));
        }
    }
    steps
}

/// The volumes of the pod; both are deleted with it.
pub(super) fn volumes() -> Vec<Volume> {
    let volume = |name: &str, size: &str| Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(Quantity(size.to_owned())),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    };
    vec![volume("source", "5Gi"), volume("layers", "10Gi")]
}

/// Requests and limits of cpu and memory.
type Amounts = [(&'static str, &'static str, &'static str); 2];

/// Small enough for a namespace with a quota: Tekton runs the steps one by one, but a quota counts all of them.
const STEP_RESOURCES: Amounts = [("cpu", "50m", "500m"), ("memory", "64Mi", "1Gi")];

/// Compilers run in this step.
const BUILD_RESOURCES: Amounts = [("cpu", "100m", "2"), ("memory", "256Mi", "4Gi")];

fn resources(amounts: &Amounts) -> ResourceRequirements {
    let amount = |name: &str, amount: &str| (name.to_owned(), Quantity(amount.to_owned()));
    ResourceRequirements {
        requests: Some(
            amounts.iter().map(|(name, request, _)| amount(name, request)).collect::<BTreeMap<_, _>>(),
        ),
        limits: Some(amounts.iter().map(|(name, _, limit)| amount(name, limit)).collect::<BTreeMap<_, _>>()),
        ..ResourceRequirements::default()
    }
}

/// Required by the Pod Security Standard `restricted`.
fn security_context(user: Option<i64>) -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), ..Capabilities::default() }),
        run_as_group: user.map(|_| BUILD_GROUP),
        run_as_non_root: Some(true),
        run_as_user: user,
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        ..SecurityContext::default()
    }
}

fn env_var(name: &str, value: impl Into<String>) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.into()), value_from: None }
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

/// Images with git and curl run as root by default, so the step sets the user.
fn fetch(defaults: &Defaults) -> Step {
    let chosen = FETCH_PARAMS.map(|name| env_var(name, format!("$(params.{name})")));
    let own = [
        env_var("WORKSPACE", SOURCE),
        env_var("GROUP", BUILD_GROUP.to_string()),
        env_var("HOME", HOME),
        env_var("CAUSE", format!("$(results.{CAUSE}.path)")),
    ];
    Step {
        name: "fetch",
        image: defaults.fetch_image.clone(),
        script: Some(include_str!("fetch.sh")),
        env: chosen.into_iter().chain(own).collect(),
        volume_mounts: vec![mount("source", SOURCE)],
        security_context: security_context(Some(BUILD_GROUP)),
        ..Step::default()
    }
}

/// A phase of the lifecycle, run as the builder image's user. The script reports a missing lifecycle binary.
fn phase(name: &'static str, program: &str, args: Vec<String>) -> Step {
    Step {
        name,
        image: "$(params.BUILDER_IMAGE)".to_owned(),
        script: Some(include_str!("phase.sh")),
        args: std::iter::once(format!("{LIFECYCLE}/{program}")).chain(args).collect(),
        env: vec![
            env_var("CNB_PLATFORM_API", PLATFORM_API),
            env_var("CNB_NO_COLOR", "true"),
            env_var("CAUSE", format!("$(results.{CAUSE}.path)")),
        ],
        volume_mounts: vec![mount("source", SOURCE), mount("layers", LAYERS)],
        security_context: security_context(None),
        ..Step::default()
    }
}

/// The phase, with the image to push as its last argument.
fn with_image(mut step: Step) -> Step {
    step.env.push(env_var(APP_IMAGE, format!("$(params.{APP_IMAGE})")));
    step
}

fn digest() -> Step {
    Step {
        name: "digest",
        image: "$(params.BUILDER_IMAGE)".to_owned(),
        script: Some(include_str!("digest.sh")),
        env: vec![env_var("REPORT", REPORT)],
        volume_mounts: vec![mount("layers", LAYERS)],
        security_context: security_context(None),
        ..Step::default()
    }
}
