//! The run that builds a function: the pipeline is part of it, so it works in every namespace. Pure.
//!
//! What a user chose reaches scripts as environment variables only, and commands as arguments of their own.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        EmptyDirVolumeSource, EnvVar, PersistentVolumeClaimSpec, Volume, VolumeMount,
        VolumeResourceRequirements,
    },
    apimachinery::pkg::api::resource::Quantity,
};

use crate::{
    api::label,
    foreign::{
        ChildKind,
        tekton::{
            Named, Param, ParamSpec, PipelineResult, PipelineRunSpec, PipelineSpec, PipelineTask,
            PodSecurity, PodTemplate, Step, TaskRunTemplate, TaskSpec, TaskWorkspace, Timeouts, VolumeClaim,
            WorkspaceBinding,
        },
    },
    render::{Child, ChildId, Defaults, Owner, ValidFunction, child::ChildBuilder},
};

/// The result that holds the digest of the pushed image.
pub const IMAGE_DIGEST: &str = "IMAGE_DIGEST";

/// The task that brings the source.
pub const FETCH_TASK: &str = "fetch";

/// The task that builds and pushes.
pub const BUILD_TASK: &str = "build";

/// The group of the lifecycle's user in the builders of Paketo, Heroku and Google.
const BUILD_GROUP: i64 = 1000;

/// A version of the Platform API that lifecycles from 0.14 on speak, and that has every flag used here.
const PLATFORM_API: &str = "0.10";

const WORKSPACE: &str = "source";
const FETCH_PARAMS: [&str; 6] =
    ["SOURCE_URL", "SOURCE_REVISION", "SOURCE_SUBPATH", "SOURCE_ARCHIVE", "ENTRYPOINT", "RUNTIME"];
const BUILD_PARAMS: [&str; 2] = ["APP_IMAGE", "BUILDER_IMAGE"];

/// The run that builds the function's current inputs.
#[must_use]
pub fn pipeline_run(owner: &Owner<'_>, valid: &ValidFunction, defaults: &Defaults) -> Child {
    let storage = BTreeMap::from([("storage".to_owned(), Quantity("1Gi".to_owned()))]);
    let claim = PersistentVolumeClaimSpec {
        access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
        resources: Some(VolumeResourceRequirements {
            requests: Some(storage),
            ..VolumeResourceRequirements::default()
        }),
        ..PersistentVolumeClaimSpec::default()
    };
    let spec = PipelineRunSpec {
        params: param_values(valid),
        pipeline_spec: pipeline(defaults),
        workspaces: vec![WorkspaceBinding {
            name: WORKSPACE,
            volume_claim_template: VolumeClaim { spec: claim },
        }],
        task_run_template: TaskRunTemplate {
            service_account_name: valid.inputs.service_account.clone(),
            pod_template: PodTemplate { security_context: PodSecurity { fs_group: BUILD_GROUP } },
        },
        timeouts: Timeouts { pipeline: valid.inputs.timeout.clone() },
    };
    let mut parts = ChildBuilder::new(ChildId::new(ChildKind::PipelineRun, valid.run_name()), spec);
    parts.labels.insert(label::RUNTIME.to_owned(), valid.inputs.runtime.clone());
    parts.build(owner)
}

/// Every parameter has a value, an empty one where the source is of the other sort.
fn param_values(valid: &ValidFunction) -> Vec<Param> {
    let inputs = &valid.inputs;
    let git = inputs.git.as_ref();
    let text = |text: Option<&String>| text.cloned().unwrap_or_default();
    let values = [
        ("APP_IMAGE", inputs.image.clone()),
        ("BUILDER_IMAGE", inputs.builder.clone()),
        ("SOURCE_URL", text(git.map(|git| &git.url))),
        ("SOURCE_REVISION", text(git.map(|git| &git.revision))),
        ("SOURCE_SUBPATH", text(git.and_then(|git| git.sub_path.as_ref()))),
        ("SOURCE_ARCHIVE", text(inputs.archive.as_ref())),
        ("ENTRYPOINT", text(inputs.entrypoint.as_ref())),
        ("RUNTIME", inputs.runtime.clone()),
    ];
    values.into_iter().map(|(name, value)| Param { name: name.to_owned(), value }).collect()
}

fn pipeline(defaults: &Defaults) -> PipelineSpec {
    PipelineSpec {
        params: BUILD_PARAMS.into_iter().chain(FETCH_PARAMS).map(param_spec).collect(),
        workspaces: vec![Named { name: WORKSPACE }],
        tasks: vec![
            task(FETCH_TASK, &[], &FETCH_PARAMS, fetch(defaults)),
            task(BUILD_TASK, &[FETCH_TASK], &BUILD_PARAMS, build()),
        ],
        results: vec![PipelineResult {
            name: IMAGE_DIGEST,
            value: format!("$(tasks.{BUILD_TASK}.results.{IMAGE_DIGEST})"),
        }],
    }
}

fn param_spec(name: &str) -> ParamSpec {
    ParamSpec { name: name.to_owned(), kind: "string" }
}

/// A task that gets the pipeline's parameters under their own names.
fn task(name: &'static str, after: &[&'static str], params: &[&str], task_spec: TaskSpec) -> PipelineTask {
    PipelineTask {
        name,
        run_after: after.to_vec(),
        params: params
            .iter()
            .map(|name| Param { name: (*name).to_owned(), value: format!("$(params.{name})") })
            .collect(),
        workspaces: vec![TaskWorkspace { name: WORKSPACE, workspace: WORKSPACE }],
        task_spec,
    }
}

fn env_var(name: &str, value: impl Into<String>) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.into()), value_from: None }
}

/// A path in the workspace.
fn in_workspace(path: &str) -> String {
    format!("$(workspaces.{WORKSPACE}.path){path}")
}

fn fetch(defaults: &Defaults) -> TaskSpec {
    let chosen = FETCH_PARAMS.map(|name| env_var(name, format!("$(params.{name})")));
    let ours = [env_var("WORKSPACE", in_workspace("")), env_var("GROUP", BUILD_GROUP.to_string())];
    TaskSpec {
        params: FETCH_PARAMS.map(param_spec).into(),
        workspaces: vec![Named { name: WORKSPACE }],
        results: Vec::new(),
        steps: vec![Step {
            name: "fetch",
            image: defaults.fetch_image.clone(),
            script: Some(include_str!("fetch.sh")),
            env: chosen.into_iter().chain(ours).collect(),
            ..Step::default()
        }],
        volumes: Vec::new(),
    }
}

fn build() -> TaskSpec {
    let layers = || VolumeMount {
        name: "layers".to_owned(),
        mount_path: "/layers".to_owned(),
        ..VolumeMount::default()
    };
    let report = "/layers/report.toml";
    let create = Step {
        name: "create",
        image: "$(params.BUILDER_IMAGE)".to_owned(),
        command: vec!["/cnb/lifecycle/creator".to_owned()],
        args: vec![
            format!("-app={}", in_workspace("/app")),
            "-layers=/layers".to_owned(),
            format!("-platform={}", in_workspace("/platform")),
            format!("-report={report}"),
            "$(params.APP_IMAGE)".to_owned(),
        ],
        env: vec![env_var("CNB_PLATFORM_API", PLATFORM_API)],
        volume_mounts: vec![layers()],
        ..Step::default()
    };
    let digest = Step {
        name: "digest",
        image: "$(params.BUILDER_IMAGE)".to_owned(),
        script: Some(include_str!("digest.sh")),
        env: vec![env_var("REPORT", report)],
        volume_mounts: vec![layers()],
        ..Step::default()
    };
    TaskSpec {
        params: BUILD_PARAMS.map(param_spec).into(),
        workspaces: vec![Named { name: WORKSPACE }],
        results: vec![Named { name: IMAGE_DIGEST }],
        steps: vec![create, digest],
        volumes: vec![Volume {
            name: "layers".to_owned(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        }],
    }
}
