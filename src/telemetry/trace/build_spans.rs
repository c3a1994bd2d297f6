//! The spans of a build: its run in the rollout's trace with its actual times, and a child per task. IDs are
//! derived, so every replica sends the same spans.

use std::time::SystemTime;

use opentelemetry::{
    Context, KeyValue,
    trace::{Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, Tracer as _},
};
use sha2::{Digest, Sha256};

use crate::{
    api::BuildResult,
    telemetry::{
        catalog::spans::{BUILD, BUILD_FAILED, TASK},
        trace::{Traces, ids::with_preset, rollout_context::RolloutContext, rollout_parent},
    },
};

/// The span of a finished build.
#[derive(Clone, Debug)]
pub struct BuildSpan {
    /// The rollout that the build belongs to.
    pub ctx: RolloutContext,
    /// The function.
    pub pipeline: String,
    /// Its namespace.
    pub namespace: String,
    /// The `PipelineRun`.
    pub run: String,
    /// Its uid.
    pub uid: String,
    /// When it started.
    pub started: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
    /// Its result.
    pub result: BuildResult,
    /// Why it failed.
    pub error: Option<String>,
    /// Its tasks.
    pub tasks: Vec<TaskSpan>,
}

/// The span of a task of a build.
#[derive(Clone, Debug)]
pub struct TaskSpan {
    /// Its name in the pipeline.
    pub name: String,
    /// The `TaskRun`.
    pub run: String,
    /// Its uid.
    pub uid: String,
    /// When it began.
    pub started: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
    /// How it ended.
    pub result: BuildResult,
    /// Why it failed.
    pub error: Option<String>,
}

/// The span ID for an object with this uid.
fn span_id_from_uid(uid: &str) -> SpanId {
    let digest = Sha256::digest(uid.as_bytes());
    let mut id = [0; 8];
    id.copy_from_slice(&digest[..8]);
    // All zeros is not a valid ID.
    id[7] |= u8::from(id == [0; 8]);
    SpanId::from_bytes(id)
}

fn with_error_type(mut attributes: Vec<KeyValue>, result: BuildResult) -> Vec<KeyValue> {
    match result {
        BuildResult::Error => attributes.push(KeyValue::new("error.type", BUILD_FAILED)),
        BuildResult::Timeout => attributes.push(KeyValue::new("error.type", "timeout")),
        BuildResult::Success | BuildResult::Cancelled => {}
    }
    attributes
}

impl Traces {
    /// Emits the spans of a build, if its rollout is sampled. Attributes: semantic conventions, `cicd.*`.
    pub fn emit_build(&self, build: &BuildSpan) {
        if !build.ctx.is_sampled() {
            return;
        }
        let run = span_id_from_uid(&build.uid);
        let attributes = vec![
            KeyValue::new("cicd.pipeline.name", build.pipeline.clone()),
            KeyValue::new("cicd.pipeline.run.id", build.uid.clone()),
            KeyValue::new("cicd.pipeline.result", build.result.as_cicd()),
            KeyValue::new("cicd.pipeline.action.name", "BUILD"),
            KeyValue::new("k8s.namespace.name", build.namespace.clone()),
            KeyValue::new("k8s.object.kind", "PipelineRun"),
            KeyValue::new("k8s.object.name", build.run.clone()),
            KeyValue::new("k8s.object.uid", build.uid.clone()),
        ];
        let root = build.ctx.span_context();
        self.emit_finished(
            &root,
            run,
            SpanBuilder::from_name(BUILD.name_for(&build.pipeline))
                .with_kind(SpanKind::Server)
                .with_attributes(with_error_type(attributes, build.result)),
            (build.started, build.ended),
            build.error.as_deref(),
        );
        let parent =
            SpanContext::new(root.trace_id(), run, root.trace_flags(), true, root.trace_state().clone());
        for task in &build.tasks {
            let attributes = vec![
                KeyValue::new("cicd.pipeline.task.name", task.name.clone()),
                KeyValue::new("cicd.pipeline.task.run.id", task.uid.clone()),
                KeyValue::new("cicd.pipeline.task.type", "build"),
                KeyValue::new("cicd.pipeline.task.run.result", task.result.as_cicd()),
                KeyValue::new("k8s.object.kind", "TaskRun"),
                KeyValue::new("k8s.object.name", task.run.clone()),
            ];
            self.emit_finished(
                &parent,
                span_id_from_uid(&task.uid),
                SpanBuilder::from_name(TASK.name_for(&task.name))
                    .with_kind(SpanKind::Internal)
                    .with_attributes(with_error_type(attributes, task.result)),
                (task.started, task.ended),
                task.error.as_deref(),
            );
        }
    }

    fn emit_finished(
        &self,
        parent: &SpanContext,
        id: SpanId,
        builder: SpanBuilder,
        (from, to): (SystemTime, SystemTime),
        error: Option<&str>,
    ) {
        let cx: Context = rollout_parent(parent.clone());
        let builder = builder.with_start_time(from);
        let tracer = &self.inner.tracer;
        let mut span =
            with_preset(cx.span().span_context().trace_id(), id, || tracer.build_with_context(builder, &cx));
        if let Some(error) = error {
            span.set_status(Status::error(error.to_owned()));
        }
        span.end_with_timestamp(to);
    }
}
