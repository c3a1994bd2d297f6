//! The critical path of a trace: backwards from its end, always into the span that ended last. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::plugin::spans::TraceSpan;

/// What the time was spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StepKind {
    /// Waiting: no span of the operator was open.
    Wait,
    /// A request.
    Call,
    /// Other work.
    Work,
}

/// A step of the critical path; times in microseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathStep {
    /// The span's name, or the thing that was waited for.
    pub name: String,
    /// What the time was spent on.
    pub kind: StepKind,
    /// When it started.
    pub start: u64,
    /// When it ended.
    pub end: u64,
}

/// The steps of the critical path, in order; their durations add up to that of the root. `wait_for` names
/// what a rollout waits for while none of its spans is open.
#[must_use]
pub fn critical_path(
    spans: &[TraceSpan],
    root: &TraceSpan,
    wait_for: &dyn Fn(&TraceSpan) -> String,
) -> Vec<PathStep> {
    let mut children: BTreeMap<&str, Vec<&TraceSpan>> = BTreeMap::new();
    for span in spans.iter().filter(|span| span.id != root.id) {
        children.entry(&span.parent).or_default().push(span);
    }
    let mut steps = Vec::new();
    descend(root, (root.start, root.end), &children, wait_for, &mut steps, 0);
    steps.reverse();
    merged(steps)
}

/// The step after a failed reconcile.
const BACK_OFF: &str = "back off after a failed reconcile";
/// A trace with foreign services may be arbitrarily deep.
const MAX_DEPTH: usize = 64;

/// Adds the steps of a span within these times, last step first.
fn descend(
    span: &TraceSpan,
    (from, until): (u64, u64),
    children: &BTreeMap<&str, Vec<&TraceSpan>>,
    wait_for: &dyn Fn(&TraceSpan) -> String,
    steps: &mut Vec<PathStep>,
    depth: usize,
) {
    let is_rollout = span.name.starts_with("rollout ");
    // If all its steps succeeded, it found a child that is not ready.
    let is_failed = |reconcile: &TraceSpan| {
        let steps = children.get(reconcile.id.as_str()).into_iter().flatten();
        reconcile.failure.is_some() && steps.into_iter().any(|step| step.failure.is_some())
    };
    let own = |after: Option<&TraceSpan>, from: u64, to: u64| {
        let kind = match (is_rollout, span.is_call) {
            (true, _) => StepKind::Wait,
            (_, true) => StepKind::Call,
            _ => StepKind::Work,
        };
        let name = match after {
            _ if !is_rollout => name_of(span),
            Some(before) if is_failed(before) => BACK_OFF.to_owned(),
            _ => wait_for(span),
        };
        PathStep { name, kind, start: from, end: to }
    };
    let mut cursor = until;
    let mut below: Vec<&TraceSpan> = children.get(span.id.as_str()).cloned().unwrap_or_default();
    below.sort_by_key(|child| (child.end, child.start));
    while let Some(child) = below.pop().filter(|_| depth < MAX_DEPTH) {
        let end = child.end.min(cursor);
        let start = child.start.max(from);
        if start >= end {
            continue;
        }
        if end < cursor {
            steps.push(own(Some(child), end, cursor));
        }
        descend(child, (start, end), children, wait_for, steps, depth + 1);
        cursor = start;
        // On this path, spans that are still open end where it begins.
        below.sort_by_key(|other| (other.end.min(cursor), other.start));
    }
    if from < cursor {
        steps.push(own(None, from, cursor));
    }
}

fn name_of(span: &TraceSpan) -> String {
    if span.service.is_empty() || span.service == "elpio-operator" {
        span.name.clone()
    } else {
        format!("{} ({})", span.name, span.service)
    }
}

/// Merges consecutive steps with the same name.
fn merged(steps: Vec<PathStep>) -> Vec<PathStep> {
    let mut all: Vec<PathStep> = Vec::new();
    for step in steps {
        match all.last_mut() {
            Some(last) if last.name == step.name && last.kind == step.kind => last.end = step.end,
            _ => all.push(step),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: &str, parent: &str, name: &str, start: u64, end: u64) -> TraceSpan {
        let [id, parent, name] = [id, parent, name].map(str::to_owned);
        TraceSpan { is_call: name == "PATCH", id, parent, name, start, end, ..TraceSpan::default() }
    }

    #[test]
    fn it_follows_what_ended_last_and_adds_up() {
        let spans = [
            span("r", "", "rollout ElpioService", 0, 1000),
            span("a", "r", "reconcile", 10, 110),
            span("p", "a", "PATCH", 20, 100),
            // Overlaps the first one and ends before it: not on the path.
            span("x", "r", "reconcile", 30, 60),
            span("b", "r", "reconcile", 900, 1100),
            span("lost", "nowhere", "reconcile", 0, 5000),
        ];
        let path = critical_path(&spans, &spans[0], &|_| "wait for web".to_owned());
        let found: Vec<_> = path.iter().map(|step| (step.name.as_str(), step.end - step.start)).collect();
        let expected = [
            ("wait for web", 10),
            ("reconcile", 10),
            ("PATCH", 80),
            ("reconcile", 10),
            ("wait for web", 790),
            ("reconcile", 100),
        ];
        assert_eq!(found, expected);
        assert_eq!(found.iter().map(|(_, took)| took).sum::<u64>(), 1000);
        assert_eq!(path[4].kind, StepKind::Wait);
        assert_eq!(path[2].kind, StepKind::Call);
    }

    #[test]
    fn after_a_failed_reconcile_the_rollout_waits_for_no_child() {
        let failed = |span: TraceSpan| TraceSpan { failure: Some("forbidden".to_owned()), ..span };
        let spans = [
            span("r", "", "rollout ElpioService", 0, 100),
            failed(span("a", "r", "reconcile", 10, 20)),
            failed(span("p", "a", "apply Service", 10, 20)),
            // Not ready: marked as failed, but waits for its child.
            failed(span("b", "r", "reconcile", 50, 60)),
        ];
        let path = critical_path(&spans, &spans[0], &|_| "wait for web".to_owned());
        let found: Vec<_> = path.iter().map(|step| step.name.as_str()).collect();
        assert_eq!(found, ["wait for web", "apply Service", BACK_OFF, "reconcile", "wait for web"]);
        assert_eq!(path[2].kind, StepKind::Wait);
    }

    #[test]
    fn a_trace_that_is_its_own_child_ends() {
        let spans = [span("r", "", "rollout", 0, 10), span("a", "b", "x", 1, 9), span("b", "a", "y", 1, 9)];
        assert_eq!(critical_path(&spans, &spans[0], &|_| String::new()).len(), 1);
    }

    #[test]
    fn clocks_that_differ_add_no_time() {
        // The child's clock is behind: it starts before its parent, and its own child even earlier.
        let spans = [
            span("r", "", "rollout ElpioService", 100, 1000),
            span("a", "r", "reconcile", 50, 400),
            span("p", "a", "PATCH", 20, 300),
        ];
        let path = critical_path(&spans, &spans[0], &|_| "wait for web".to_owned());
        assert!(path.iter().all(|step| (100..=step.end).contains(&step.start)), "{path:?}");
        assert_eq!(path.iter().map(|step| step.end - step.start).sum::<u64>(), 900, "{path:?}");
    }
}
