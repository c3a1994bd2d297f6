//! A function's trace, read back, and made short enough to be read: reconciles that changed nothing are left
//! out. Only reads.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use elpio_cluster::{eventually, otlp::Span, tree};
use kube::{ResourceExt as _, core::DynamicObject};

use crate::{
    backends::Backends,
    table::text,
    terminal::{Terminal, Tone},
};

const BOUND: Duration = Duration::from_mins(2);
/// Tekton sends its spans every five seconds.
const TEKTON: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(200);
/// Another project's work that took less is left out.
const SLIGHT: Duration = Duration::from_millis(50);
/// The operator's own name for itself.
const OPERATOR: &str = "elpio-operator";

/// The trace of one rollout.
pub struct Trace {
    pub id: String,
    /// What it is of.
    pub name: String,
    pub spans: Vec<Span>,
}

impl Trace {
    /// That of the first of these functions, when its build and its end are there; with Tekton's own spans,
    /// where it sends any.
    pub async fn read(
        backends: &Backends,
        functions: &[&DynamicObject],
        tekton: bool,
    ) -> Result<Self, String> {
        let function = functions.first().ok_or("there is no function among the samples")?;
        let (id, name) = (text(&function.data["status"]["rollout"], "traceId"), function.name_any());
        // The root is sent when the rollout ends, the build's span when it has; the export takes a moment.
        let build = format!("BUILD {name}");
        let spans = eventually("the rollout's root span and its build's are received", BOUND, async || {
            let spans = backends.trace(&id).await;
            let complete = spans.iter().any(|span| span.parent_id.is_empty())
                && spans.iter().any(|span| span.name == build);
            if complete { Ok(spans) } else { Err(format!("{} spans of trace {id:?}", spans.len())) }
        })
        .await;
        let spans = if tekton {
            tokio::time::timeout(TEKTON, with_tekton(backends, &id)).await.unwrap_or(spans)
        } else {
            spans
        };
        Ok(Self { id, name, spans })
    }

    /// Without what is left out.
    pub fn short(&self) -> Vec<Span> {
        let mut children: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
        for span in &self.spans {
            children.entry(&span.parent_id).or_default().push(span);
        }
        let known: BTreeSet<&str> = self.spans.iter().map(|span| span.span_id.as_str()).collect();
        let mut kept = Vec::new();
        for root in
            self.spans.iter().filter(|span| !known.contains(span.parent_id.as_str()) && !is_foreign(span))
        {
            keep(root, &children, &mut kept);
        }
        kept
    }
}

async fn with_tekton(backends: &Backends, id: &str) -> Vec<Span> {
    loop {
        let spans = backends.trace(id).await;
        if spans.iter().any(is_foreign) {
            return spans;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether the span is worth a line; then it is kept, and those below it that are.
fn keep(span: &Span, children: &BTreeMap<&str, Vec<&Span>>, kept: &mut Vec<Span>) {
    if is_foreign(span) {
        // Its own name for its one line; how another project works is not told.
        let mut own = span.clone();
        own.name = format!("{} ({})", span.name, service(span));
        kept.push(own);
        return;
    }
    kept.push(span.clone());
    for child in children.get(span.span_id.as_str()).into_iter().flatten() {
        if !is_work(child) || is_news(child, children) {
            keep(child, children, kept);
        }
    }
}

/// A reconcile, ours or another's: there are many that only look.
fn is_work(span: &Span) -> bool {
    is_foreign(span) || span.name.starts_with("reconcile ")
}

fn is_foreign(span: &Span) -> bool {
    service(span) != OPERATOR
}

fn service(span: &Span) -> &str {
    span.resource.get("service.name").map_or("", String::as_str)
}

/// Whether it did something, beside looking and telling how it stands.
fn is_news(span: &Span, children: &BTreeMap<&str, Vec<&Span>>) -> bool {
    let of = |span: &Span| children.get(span.span_id.as_str()).into_iter().flatten();
    if is_foreign(span) {
        return span.duration() >= SLIGHT;
    }
    of(span).any(|step| {
        step.status == "error" || (step.name != "status" && of(step).any(|request| request.kind == "client"))
    })
}

/// The tree, and how much of it is left out.
pub fn show(terminal: &Terminal, trace: &Trace, reader: &str) {
    terminal.heading(&format!(
        "The rollout of {}, from the edit to ready: trace {}, {reader}",
        trace.name, trace.id
    ));
    let short = trace.short();
    let columns = if terminal.is_live() { terminal.width() } else { usize::MAX };
    tree::brief_within(&short, terminal.color(), columns).lines().for_each(|line| terminal.short_line(line));
    let count = trace.spans.len() - short.len();
    let foreign = trace.spans.iter().filter(|span| is_foreign(span)).count();
    let left_out = format!(
        "… not shown are {count} of {} spans: reconciles that only looked or reported, and how Tekton works ({foreign})",
        trace.spans.len()
    );
    terminal.short_line(&terminal.paint(Tone::Dim, left_out));
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
            end: u64::try_from(SLIGHT.as_nanos()).unwrap(),
            resource: [("service.name".to_owned(), service.to_owned())].into(),
            ..Span::default()
        }
    }

    #[test]
    fn what_only_looked_is_left_out_and_another_projects_work_is_one_line() {
        let own = |id: &str, parent: &str, name: &str| span(id, parent, name, OPERATOR, "internal");
        let request = |id: &str, parent: &str| span(id, parent, "PATCH", OPERATOR, "client");
        let trace = Trace {
            id: String::new(),
            name: String::new(),
            spans: vec![
                own("root", "", "rollout ElpioFunction"),
                own("looked", "root", "reconcile ElpioFunction"),
                own("observe", "looked", "observe"),
                own("told", "root", "reconcile ElpioFunction"),
                own("status", "told", "status"),
                request("patch", "status"),
                own("applied", "root", "reconcile ElpioFunction"),
                own("apply", "applied", "apply PipelineRun"),
                request("post", "apply"),
                span("tekton", "root", "ReconcileKind", "pipelinerun-reconciler", "internal"),
                span("within", "tekton", "createTaskRuns", "pipelinerun-reconciler", "internal"),
                span("orphan", "lost", "createPod", "taskrun-reconciler", "internal"),
            ],
        };
        let kept: Vec<String> = trace.short().into_iter().map(|span| span.span_id).collect();
        assert_eq!(kept, ["root", "applied", "apply", "post", "tekton"]);
    }
}
