//! The run that builds a function. It embeds its pipeline, so it works in every namespace. Pure.
//!
//! User input reaches the scripts of its steps only through environment variables.

use k8s_openapi::api::core::v1::{KeyToPath, PodSecurityContext, SeccompProfile, SecretVolumeSource};

use crate::{
    api::{BuildStatus, annotation, label},
    foreign::{
        ChildKind,
        tekton::{
            Named, Param, ParamSpec, PipelineResult, PipelineRunSpec, PipelineSpec, PipelineTask,
            PodTemplate, TaskRunTemplate, TaskSpec, TaskWorkspace, Timeouts, WorkspaceBinding,
        },
    },
    render::{Child, ChildId, Defaults, Owner, ValidFunction, child::ChildBuilder, function::steps},
};

/// The result with the digest of the pushed image.
pub const IMAGE_DIGEST: &str = "IMAGE_DIGEST";

/// The result with a one-line reason why fetching the source or a phase failed.
pub const CAUSE: &str = "CAUSE";

/// The pipeline's only task. Its steps share a pod, so no volume outlives it.
pub const BUILD_TASK: &str = "build";

/// The group of the lifecycle's user in the Paketo, Heroku and Google builders.
pub(super) const BUILD_GROUP: i64 = 1000;

/// The workspace with the push credentials.
pub(super) const REGISTRY: &str = "registry";

/// The parameter that names the image to push.
pub(super) const APP_IMAGE: &str = "APP_IMAGE";

const PARAMS: [&str; 8] = [
    APP_IMAGE,
    "BUILDER_IMAGE",
    "SOURCE_URL",
    "SOURCE_REVISION",
    "SOURCE_SUBPATH",
    "SOURCE_ARCHIVE",
    "ENTRYPOINT",
    "RUNTIME",
];

/// The run for a build of the function's current inputs.
#[must_use]
pub fn pipeline_run(
    owner: &Owner<'_>,
    valid: &ValidFunction,
    build: &BuildStatus,
    defaults: &Defaults,
) -> Child {
    let spec = PipelineRunSpec {
        params: param_values(valid),
        pipeline_spec: pipeline(valid, defaults),
        workspaces: valid.inputs.push_secret.iter().map(|secret| registry(secret)).collect(),
        task_run_template: TaskRunTemplate {
            service_account_name: valid.inputs.service_account.clone(),
            pod_template: PodTemplate {
                automount_service_account_token: false,
                security_context: PodSecurityContext {
                    fs_group: Some(BUILD_GROUP),
                    run_as_non_root: Some(true),
                    seccomp_profile: Some(SeccompProfile {
                        type_: "RuntimeDefault".to_owned(),
                        ..SeccompProfile::default()
                    }),
                    ..PodSecurityContext::default()
                },
            },
        },
        timeouts: Timeouts { pipeline: valid.inputs.timeout.clone() },
    };
    let mut parts = ChildBuilder::new(ChildId::new(ChildKind::PipelineRun, &build.name), spec);
    parts.labels.insert(label::RUNTIME.to_owned(), valid.inputs.runtime.clone());
    let rebuild = build.rebuild.clone().map(|rebuild| (annotation::REBUILD, rebuild));
    let annotations = [
        (annotation::BUILD_INPUTS, build.inputs.clone()),
        (annotation::BUILD_NUMBER, build.number.to_string()),
    ];
    parts.annotations =
        annotations.into_iter().chain(rebuild).map(|(name, value)| (name.to_owned(), value)).collect();
    parts.build(owner)
}

/// The Secret in the format that registry clients read: a file config.json.
fn registry(secret: &str) -> WorkspaceBinding {
    let item = KeyToPath {
        key: ".dockerconfigjson".to_owned(),
        path: "config.json".to_owned(),
        ..KeyToPath::default()
    };
    WorkspaceBinding {
        name: REGISTRY,
        secret: SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            items: Some(vec![item]),
            ..SecretVolumeSource::default()
        },
    }
}

/// Every parameter has a value; those of the other source type are empty.
fn param_values(valid: &ValidFunction) -> Vec<Param> {
    let inputs = &valid.inputs;
    let git = inputs.git.as_ref();
    let text = |text: Option<&String>| text.cloned().unwrap_or_default();
    let value = |name: &str| match name {
        APP_IMAGE => inputs.image.clone(),
        "BUILDER_IMAGE" => inputs.builder.clone(),
        "SOURCE_URL" => text(git.map(|git| &git.url)),
        "SOURCE_REVISION" => text(git.map(|git| &git.revision)),
        "SOURCE_SUBPATH" => text(git.and_then(|git| git.sub_path.as_ref())),
        "SOURCE_ARCHIVE" => text(inputs.archive.as_ref()),
        "ENTRYPOINT" => text(inputs.entrypoint.as_ref()),
        _ => inputs.runtime.clone(),
    };
    PARAMS.map(|name| Param { name: name.to_owned(), value: value(name) }).into()
}

fn pipeline(valid: &ValidFunction, defaults: &Defaults) -> PipelineSpec {
    let has_secret = valid.inputs.push_secret.is_some();
    let workspaces: Vec<Named> = has_secret.then_some(Named { name: REGISTRY }).into_iter().collect();
    let task_spec = TaskSpec {
        params: PARAMS.map(param_spec).into(),
        workspaces: workspaces.clone(),
        results: vec![Named { name: IMAGE_DIGEST }, Named { name: CAUSE }],
        steps: steps::steps(valid, defaults),
        volumes: steps::volumes(),
    };
    let task = PipelineTask {
        name: BUILD_TASK,
        params: PARAMS.map(|name| Param { name: name.to_owned(), value: format!("$(params.{name})") }).into(),
        workspaces: has_secret
            .then_some(TaskWorkspace { name: REGISTRY, workspace: REGISTRY })
            .into_iter()
            .collect(),
        task_spec,
    };
    PipelineSpec {
        params: PARAMS.map(param_spec).into(),
        workspaces,
        tasks: vec![task],
        results: vec![PipelineResult {
            name: IMAGE_DIGEST,
            value: format!("$(tasks.{BUILD_TASK}.results.{IMAGE_DIGEST})"),
        }],
    }
}

fn param_spec(name: &str) -> ParamSpec {
    ParamSpec { name: name.to_owned(), kind: "string" }
}
