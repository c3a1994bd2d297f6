//! The fields of Tekton's `PipelineRun` that Elpio writes.

use k8s_openapi::api::core::v1::{
    EnvVar, PodSecurityContext, ResourceRequirements, SecretVolumeSource, SecurityContext, Volume,
    VolumeMount,
};
use serde::Serialize;

/// The `spec.status` of a cancelled run.
pub const CANCELLED: &str = "Cancelled";

/// Every `spec.status` that stops a run. `PipelineRunPending` is not among them: it only delays the start.
pub const STOPPING: [&str; 3] = [CANCELLED, "CancelledRunFinally", "StoppedRunFinally"];

/// `spec` of a `tekton.dev/v1` `PipelineRun`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineRunSpec {
    /// Values of the pipeline's parameters.
    pub params: Vec<Param>,
    /// The embedded pipeline, so that none needs to be installed.
    pub pipeline_spec: PipelineSpec,
    /// Volumes of the pipeline's workspaces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workspaces: Vec<WorkspaceBinding>,
    /// The template for all its pods.
    pub task_run_template: TaskRunTemplate,
    /// The timeouts.
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
    /// Its results.
    pub results: Vec<PipelineResult>,
}

/// A workspace or a result of a task, which has only a name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Named {
    /// The name.
    pub name: &'static str,
}

/// A result of a pipeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PipelineResult {
    /// Its name.
    pub name: &'static str,
    /// The expression for its value.
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
    /// The embedded task.
    pub task_spec: TaskSpec,
}

/// A pipeline's workspace, mapped to a task's workspace.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskWorkspace {
    /// The task's workspace.
    pub name: &'static str,
    /// The pipeline's workspace.
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
    /// Its results.
    pub results: Vec<Named>,
    /// Its containers, which run in order.
    pub steps: Vec<Step>,
    /// Volumes of its pod.
    pub volumes: Vec<Volume>,
}

/// A container of a task that runs a script.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Its name.
    pub name: &'static str,
    /// Its image.
    pub image: String,
    /// The script, including the interpreter line.
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
    /// Workspaces that only this step may see.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workspaces: Vec<StepWorkspace>,
    /// Its compute resources.
    pub compute_resources: ResourceRequirements,
    /// The security context of its container.
    pub security_context: SecurityContext,
}

/// A workspace that is mounted only in the steps that name it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepWorkspace {
    /// The task's workspace.
    pub name: &'static str,
    /// The mount path.
    pub mount_path: &'static str,
}

/// The volume of a workspace.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkspaceBinding {
    /// The workspace's name.
    pub name: &'static str,
    /// The Secret to mount.
    pub secret: SecretVolumeSource,
}

/// The template for all pods of a run.
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
    /// The security context of the pods.
    pub security_context: PodSecurityContext,
}

/// The timeouts of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timeouts {
    /// The timeout of the whole run, as a Go duration.
    pub pipeline: String,
}
