//! A function's trace, read from the backends and reduced to what is worth reading. It sends nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use elpio_cluster::{eventually, otlp::Span, trace_tree};
use kube::{ResourceExt as _, core::DynamicObject};

use crate::{
    backends::Backends,
    table::text,
    terminal::{Terminal, Tone},
};

const TIMEOUT: Duration = Duration::from_mins(2);
/// Tekton exports its spans every five seconds.
const TEKTON_TIMEOUT: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Shorter spans of other services are left out.
const NEGLIGIBLE: Duration = Duration::from_millis(50);
/// The operator's `service.name`.
const OPERATOR: &str = "elpio-operator";

/// The trace of one rollout.
pub struct Trace {
    pub id: String,
    /// The name of the object.
    pub name: String,
    pub spans: Vec<Span>,
}

impl Trace {
    /// Waits for the trace of the first of these functions, with its build and, if `tekton` exports any,
    /// Tekton's spans.
    pub async fn read(
        backends: &Backends,
        functions: &[&DynamicObject],
        tekton: bool,
    ) -> Result<Self, String> {
        let function = functions.first().ok_or("there is no function among the samples")?;
        let (id, name) = (text(&function.data["status"]["rollout"], "traceId"), function.name_any());
        // The root span is exported when the rollout has ended, the build's span when the build has.
        let build = format!("BUILD {name}");
        let spans = eventually("the spans of the rollout and its build are received", TIMEOUT, async || {
            let spans = backends.trace(&id).await;
            let is_complete = spans.iter().any(|span| span.parent_id.is_empty())
                && spans.iter().any(|span| span.name == build);
            if is_complete { Ok(spans) } else { Err(format!("{} spans of trace {id:?}", spans.len())) }
        })
        .await;
        let spans = if tekton {
            tokio::time::timeout(TEKTON_TIMEOUT, wait_for_tekton(backends, &id)).await.unwrap_or(spans)
        } else {
            spans
        };
        Ok(Self { id, name, spans })
    }

    /// The spans without reconciles that changed nothing, and with one line for each operation of another
    /// service.
    pub fn reduced(&self) -> Vec<Span> {
        let mut children: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
        for span in &self.spans {
            children.entry(&span.parent_id).or_default().push(span);
        }
        let received: BTreeSet<&str> = self.spans.iter().map(|span| span.span_id.as_str()).collect();
        let mut reduced = Vec::new();
        let is_root = |span: &&Span| !received.contains(span.parent_id.as_str()) && !is_foreign(span);
        for root in self.spans.iter().filter(is_root) {
            add(root, &children, &mut reduced);
        }
        reduced
    }
}

async fn wait_for_tekton(backends: &Backends, id: &str) -> Vec<Span> {
    loop {
        let spans = backends.trace(id).await;
        if spans.iter().any(is_foreign) {
            return spans;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Adds the span and its relevant descendants.
fn add(span: &Span, children: &BTreeMap<&str, Vec<&Span>>, reduced: &mut Vec<Span>) {
    if is_foreign(span) {
        // Without descendants: the internals of another service are left out.
        let mut named = span.clone();
        named.name = format!("{} ({})", span.name, service_name(span));
        reduced.push(named);
        return;
    }
    reduced.push(span.clone());
    for child in children.get(span.span_id.as_str()).into_iter().flatten() {
        if !is_reconcile(child) || is_relevant(child, children) {
            add(child, children, reduced);
        }
    }
}

/// A reconcile of Elpio or of another controller.
fn is_reconcile(span: &Span) -> bool {
    is_foreign(span) || span.name.starts_with("reconcile ")
}

fn is_foreign(span: &Span) -> bool {
    service_name(span) != OPERATOR
}

fn service_name(span: &Span) -> &str {
    span.resource.get("service.name").map_or("", String::as_str)
}

/// Whether a reconcile failed, or sent requests other than a status patch.
fn is_relevant(span: &Span, children: &BTreeMap<&str, Vec<&Span>>) -> bool {
    let steps = |span: &Span| children.get(span.span_id.as_str()).into_iter().flatten();
    if is_foreign(span) {
        return span.duration() >= NEGLIGIBLE;
    }
    steps(span).any(|step| {
        step.status == "error"
            || (step.name != "status" && steps(step).any(|request| request.kind == "client"))
    })
}

/// Prints the tree, and how many spans were left out.
pub fn show(terminal: &Terminal, trace: &Trace, source: &str) {
    terminal.heading(&format!(
        "The rollout of {}, from the edit to ready: trace {}, {source}",
        trace.name, trace.id
    ));
    let reduced = trace.reduced();
    let tree = trace_tree::brief_within(&reduced, terminal.color(), terminal.width());
    tree.lines().for_each(|line| terminal.short_line(line));
    let omitted = trace.spans.len() - reduced.len();
    let foreign = trace.spans.iter().filter(|span| is_foreign(span)).count();
    let total = trace.spans.len();
    let note = format!(
        "… {omitted} of {total} spans are left out: reconciles without changes, and Tekton's internals ({foreign} spans)"
    );
    terminal.paragraph(&note, 0);
}

/// Prints the trace of the exemplar with the highest value.
pub async fn show_exemplar(terminal: &Terminal, backends: &Backends) {
    let Some(exemplar) = backends.highest_exemplar("elpio_rollout_duration_seconds").await else { return };
    // The root comes last.
    let (name, count) = eventually("the exemplar's rollout is received", TIMEOUT, async || {
        let spans = backends.trace(&exemplar.trace_id).await;
        let root = spans.iter().find(|span| span.parent_id.is_empty()).map(|span| span.name.clone());
        root.map(|name| (name, spans.len()))
            .ok_or_else(|| format!("{} spans of trace {}", spans.len(), exemplar.trace_id))
    })
    .await;
    terminal.heading(
        "From a metric to a trace: the exemplar of the longest rollout (elpio_rollout_duration_seconds_bucket)",
    );
    terminal.line(&format!(
        "{:.3} s → trace {}: {}",
        exemplar.value,
        exemplar.trace_id,
        terminal.paint(Tone::Dim, format!("{name}, {count} spans"))
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: &str, parent: &str, name: &str, service: &str, kind: &'static str) -> Span {
        Span {
            span_id: id.to_owned(),
            parent_id: parent.to_owned(),
            name: name.to_owned(),
            kind,
            end: u64::try_from(NEGLIGIBLE.as_nanos()).unwrap(),
            resource: [("service.name".to_owned(), service.to_owned())].into(),
            ..Span::default()
        }
    }

    #[test]
    fn reconciles_without_changes_are_left_out_and_other_services_have_one_line() {
        let elpio = |id: &str, parent: &str, name: &str| span(id, parent, name, OPERATOR, "internal");
        let request = |id: &str, parent: &str| span(id, parent, "PATCH", OPERATOR, "client");
        let trace = Trace {
            id: String::new(),
            name: String::new(),
            spans: vec![
                elpio("root", "", "rollout ElpioFunction"),
                elpio("no-op", "root", "reconcile ElpioFunction"),
                elpio("observe", "no-op", "observe"),
                elpio("status-only", "root", "reconcile ElpioFunction"),
                elpio("status", "status-only", "status"),
                request("patch", "status"),
                elpio("applied", "root", "reconcile ElpioFunction"),
                elpio("apply", "applied", "apply PipelineRun"),
                request("post", "apply"),
                span("tekton", "root", "ReconcileKind", "pipelinerun-reconciler", "internal"),
                span("internal", "tekton", "createTaskRuns", "pipelinerun-reconciler", "internal"),
                span("orphan", "lost", "createPod", "taskrun-reconciler", "internal"),
            ],
        };
        let reduced: Vec<String> = trace.reduced().into_iter().map(|span| span.span_id).collect();
        assert_eq!(reduced, ["root", "applied", "apply", "post", "tekton"]);
    }
}
