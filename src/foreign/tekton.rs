//! The fields of Tekton's `PipelineRun` that Elpio writes.

use k8s_openapi::api::core::v1::{
    EnvVar, PodSecurityContext, ResourceRequirements, SecretVolumeSource, SecurityContext, Volume,
    VolumeMount,
};
use serde::Serialize;

/// `spec.status` of a run that is to stop at once.
pub const CANCELLED: &str = "Cancelled";

/// Every `spec.status` of a run that is to stop. `PipelineRunPending` is none of them: it holds a run back.
pub const STOPPING: [&str; 3] = [CANCELLED, "CancelledRunFinally", "StoppedRunFinally"];

/// `spec` of a `tekton.dev/v1` `PipelineRun`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineRunSpec {
    /// Values of the pipeline's parameters.
    pub params: Vec<Param>,
    /// The pipeline itself, so that none has to be installed.
    pub pipeline_spec: PipelineSpec,
    /// Volumes of the pipeline's workspaces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workspaces: Vec<WorkspaceBinding>,
    /// What all its pods have in common.
    pub task_run_template: TaskRunTemplate,
    /// How long it may take.
    pub timeouts: Timeouts,
}

/// A value of a parameter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Param {
    /// The parameter's name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A parameter of type string.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ParamSpec {
    /// Its name.
    pub name: String,
    /// Always `string`.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// A pipeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PipelineSpec {
    /// Its parameters.
    pub params: Vec<ParamSpec>,
    /// Its workspaces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workspaces: Vec<Named>,
    /// Its tasks.
    pub tasks: Vec<PipelineTask>,
    /// What it reports.
    pub results: Vec<PipelineResult>,
}

/// A workspace or a result of a task: it only has a name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Named {
    /// The name.
    pub name: &'static str,
}

/// What a pipeline reports.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PipelineResult {
    /// Its name.
    pub name: &'static str,
    /// Where it comes from.
    pub value: String,
}

/// A task of a pipeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineTask {
    /// Its name.
    pub name: &'static str,
    /// Values of the task's parameters.
    pub params: Vec<Param>,
    /// The pipeline's workspaces under the task's names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workspaces: Vec<TaskWorkspace>,
    /// The task itself.
    pub task_spec: TaskSpec,
}

/// A workspace of the pipeline under the name that the task has for it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskWorkspace {
    /// The task's name for it.
    pub name: &'static str,
    /// The pipeline's.
    pub workspace: &'static str,
}

/// A task: one pod.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskSpec {
    /// Its parameters.
    pub params: Vec<ParamSpec>,
    /// Its workspaces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workspaces: Vec<Named>,
    /// What it reports.
    pub results: Vec<Named>,
    /// Its containers, one after the other.
    pub steps: Vec<Step>,
    /// Volumes of its pod.
    pub volumes: Vec<Volume>,
}

/// A container of a task, which runs a script.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Its name.
    pub name: &'static str,
    /// Its image.
    pub image: String,
    /// A script, with the line that names its interpreter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<&'static str>,
    /// Arguments of the script.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment variables.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// Volumes of the task.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<VolumeMount>,
    /// Workspaces of the task that no other step sees.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workspaces: Vec<StepWorkspace>,
    /// Its compute resources.
    pub compute_resources: ResourceRequirements,
    /// What its processes may do.
    pub security_context: SecurityContext,
}

/// A workspace that is mounted in the steps that name it, and in no other.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepWorkspace {
    /// The task's name for it.
    pub name: &'static str,
    /// Where it is mounted.
    pub mount_path: &'static str,
}

/// The volume of a workspace.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkspaceBinding {
    /// The workspace's name.
    pub name: &'static str,
    /// The Secret that it holds.
    pub secret: SecretVolumeSource,
}

/// What all pods of a run have in common.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskRunTemplate {
    /// The service account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Fields of the pods.
    pub pod_template: PodTemplate,
}

/// Fields of a run's pods.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplate {
    /// Whether a token of the service account is mounted.
    pub automount_service_account_token: bool,
    /// Who the pods run as.
    pub security_context: PodSecurityContext,
}

/// How long a run may take.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timeouts {
    /// In all, a Go duration.
    pub pipeline: String,
}
