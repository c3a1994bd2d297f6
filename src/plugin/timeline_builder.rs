//! Builds the timeline of an object's last rollout from the API server's objects and, if available, from
//! spans. Pure; takes the time as an argument.

use jiff::Timestamp;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::{
    api::{FIELD_MANAGER, annotation, url::public_url},
    foreign::{
        self, ChildKind,
        fields::{integer, list, non_empty_text, text, time},
    },
    plugin::{
        critical_path::{PathStep, critical_path},
        spans::TraceSpan,
        timeline::{
            ReadyNow, SpanStep, SpecChange, Timeline, TimelineChild, TimelineEvent, TimelineInputs,
            TimelinePart, TimelineSpans,
        },
        values::seconds_between,
    },
};

/// The timeline.
#[must_use]
pub fn timeline(inputs: &TimelineInputs, now: Timestamp) -> Timeline {
    let object = &inputs.object;
    let rollout = object.pointer("/status/rollout").unwrap_or(&Value::Null);
    let (started, ended) = (time(rollout, "/startedAt"), time(rollout, "/endedAt"));
    let trace_id = non_empty_text(rollout, "/traceId").map(str::to_owned);
    let events = events(&inputs.events, started, ended, trace_id.as_deref());
    let until = ended.unwrap_or(now);
    let children: Vec<TimelineChild> =
        inputs.children.iter().map(|(kind, child)| child_line(kind, child, known(object, child))).collect();
    let waited = waited_for(&children);
    let parts = started.map_or_else(Vec::new, |from| parts(inputs, &waited, (from, until), &events));
    let spans = inputs.spans.as_ref().zip(started);
    let path = spans.map(|(spans, from)| path(inputs, &waited, spans, (from, until))).unwrap_or_default();
    let longest = longest_step(&path).or_else(|| longest(&parts));
    let ready = foreign::newest_condition(object, "Ready").unwrap_or(&Value::Null);
    let word = |pointer: &str| text(ready, pointer).to_owned();
    Timeline {
        kind: text(object, "/kind").to_owned(),
        namespace: text(object, "/metadata/namespace").to_owned(),
        name: text(object, "/metadata/name").to_owned(),
        generation: integer(rollout, "/generation"),
        outcome: non_empty_text(rollout, "/outcome").unwrap_or("Running").to_owned(),
        started_at: started,
        ended_at: ended,
        seconds: started.map(|from| seconds_between(from, until)),
        asked: asked(object),
        ready: ReadyNow { status: word("/status"), reason: word("/reason"), message: word("/message") },
        link: inputs.link.clone().filter(|_| trace_id.is_some()),
        trace_id,
        parts,
        longest,
        children,
        events,
        spans: spans.map(|(spans, from)| span_summary(spans, &path, from)),
        notes: notes(inputs, started),
    }
}

/// Whether the status describes the newest edit. Until then, it shows the previous rollout.
#[must_use]
pub fn is_observed(object: &Value) -> bool {
    object["status"]["observedGeneration"] == object["metadata"]["generation"]
}

fn notes(inputs: &TimelineInputs, started: Option<Timestamp>) -> Vec<String> {
    let mut notes = inputs.notes.clone();
    let object = &inputs.object;
    let generation = &object["metadata"]["generation"];
    if started.is_none() {
        notes.push("no operator has started its rollout: run `elpio-operator check`".to_owned());
    } else if !is_observed(object) {
        notes.push(format!("generation {generation} is not observed yet"));
    }
    if inputs.spans.as_ref().is_some_and(Vec::is_empty) {
        notes.push(
            "the backend has no span of this trace: not sampled, not exported yet, or expired".to_owned(),
        );
    }
    notes
}

/// The last field manager that changed anything other than the status.
fn asked(object: &Value) -> SpecChange {
    let is_status = |entry: &Value| text(entry, "/subresource") == "status";
    let entries = list(object, "/metadata/managedFields").filter(|entry| !is_status(entry));
    let last = entries.max_by_key(|entry| time(entry, "/time"));
    SpecChange {
        manager: last.map_or("", |entry| text(entry, "/manager")).to_owned(),
        at: last.and_then(|entry| time(entry, "/time")),
        what: summary(&object["spec"]),
    }
}

/// A short summary of the spec.
fn summary(spec: &Value) -> String {
    let word = |pointer: &str| text(spec, pointer);
    let with = |separator: &str, text: &str| {
        if text.is_empty() { String::new() } else { format!("{separator}{text}") }
    };
    let engine = with(", engine ", word("/engine"));
    let git = word("/source/git/url");
    if spec.get("source").is_some() {
        let source = if git.is_empty() { word("/source/archive") } else { git };
        let revision = with("@", word("/source/git/revision"));
        return format!("source {}{revision}, runtime {}{engine}", public_url(source), word("/runtime"));
    }
    let tag = with(":", word("/image/tag"));
    let digest = with("@", word("/image/digest"));
    format!("image {}{tag}{digest}{engine}", word("/image/repository"))
}

/// The Events of this rollout.
fn events(
    all: &[Value],
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    trace: Option<&str>,
) -> Vec<TimelineEvent> {
    let mut events: Vec<TimelineEvent> = Vec::new();
    for event in all {
        let at = time(event, "/eventTime").or_else(|| time(event, "/firstTimestamp"));
        let own = event["metadata"]["annotations"][annotation::TRACE_ID].as_str();
        let is_within = from.is_none_or(|from| at.is_some_and(|at| at >= from))
            && to.is_none_or(|to| at.is_some_and(|at| seconds_between(to, at) < 1.0));
        if !is_within && (trace.is_none() || own != trace) {
            continue;
        }
        events.push(TimelineEvent {
            at,
            type_: text(event, "/type").to_owned(),
            reason: text(event, "/reason").to_owned(),
            count: integer(event, "/series/count").unwrap_or(1),
            note: text(event, "/message").to_owned(),
        });
    }
    events.sort_by_key(|event| event.at);
    events
}

/// The parts, each from one mark to the next.
fn parts(
    inputs: &TimelineInputs,
    waited: &str,
    (from, until): (Timestamp, Timestamp),
    events: &[TimelineEvent],
) -> Vec<TimelinePart> {
    let at = |reason: &str| {
        events
            .iter()
            .find(|event| event.reason == reason)
            .and_then(|event| event.at)
            .map(|at| at.clamp(from, until))
    };
    let mut marks = Vec::new();
    if text(&inputs.object, "/kind") == "ElpioFunction" && at("BuildStarted").is_some() {
        marks.push((Some(from), "prepare the build".to_owned()));
        marks.push((at("BuildStarted"), format!("build {}", text(&inputs.object, "/status/build"))));
        marks.push((at("BuildFailed"), "wait for an edit, after the failed build".to_owned()));
        marks.push((at("BuildSucceeded"), format!("wait for {waited}")));
    } else {
        marks.push((Some(from), "apply the children".to_owned()));
        marks.push((at("Reconciled"), format!("wait for {waited}")));
    }
    let marks: Vec<(Timestamp, String)> =
        marks.into_iter().filter_map(|(at, name)| Some((at?, name))).collect();
    let ends = marks.iter().skip(1).map(|(at, _)| *at).chain([until]);
    let part = |((from, name), to): (&(Timestamp, String), Timestamp)| TimelinePart {
        name: name.clone(),
        from: *from,
        seconds: seconds_between(*from, to).max(0.0),
    };
    marks.iter().zip(ends).map(part).collect()
}

/// The child that determines readiness: the one that is not ready, or that became ready last.
fn waited_for(children: &[TimelineChild]) -> String {
    let last = children.iter().filter(|child| child.ready.is_some()).max_by_key(|child| {
        (child.ready == Some(false), child.since, child.kind == ChildKind::KnativeService.display())
    });
    last.map_or_else(|| "its children".to_owned(), |child| format!("{} {}", child.kind, child.name))
}

fn longest(parts: &[TimelinePart]) -> Option<TimelinePart> {
    parts.iter().max_by(|a, b| a.seconds.total_cmp(&b.seconds)).cloned()
}

/// The child's entry in the object's status.
fn known<'a>(object: &'a Value, child: &Value) -> Option<&'a Value> {
    let is_it = |entry: &&Value| {
        ["/apiVersion", "/kind"].iter().all(|at| text(entry, at) == text(child, at))
            && text(entry, "/name") == text(child, "/metadata/name")
    };
    list(object, "/status/children").find(is_it)
}

fn child_line(kind: &str, child: &Value, known: Option<&Value>) -> TimelineChild {
    let applied = list(child, "/metadata/managedFields")
        .filter(|entry| text(entry, "/manager") == FIELD_MANAGER && text(entry, "/subresource").is_empty());
    let applied = applied.filter_map(|entry| time(entry, "/time")).max();
    let object: Option<DynamicObject> = serde_json::from_value(child.clone()).ok();
    let of_type = |kind: &str| object.as_ref().and_then(|object| foreign::condition(object, kind).cloned());
    let own = ["Ready", "Succeeded", "Available"].into_iter().find_map(of_type);
    // The operator reads more than one condition: a Deployment without pods reports the cause in `ReplicaFailure`.
    let reason = known.filter(|known| known["ready"] == false).map(|known| text(known, "/reason"));
    let telling = reason.filter(|reason| !reason.is_empty()).map(|reason| {
        let of_reason = list(child, "/status/conditions").find(|found| text(found, "/reason") == reason);
        of_reason.cloned().unwrap_or_else(|| json!({"reason": reason}))
    });
    let ready = own.as_ref().map(|own| own["status"] == "True" && telling.is_none());
    let why = telling.as_ref().or(own.as_ref().filter(|own| own["status"] != "True")).map(|found| {
        [text(found, "/reason"), text(found, "/message")].join(": ").trim_matches([':', ' ']).to_owned()
    });
    TimelineChild {
        kind: kind.to_owned(),
        name: text(child, "/metadata/name").to_owned(),
        applied_at: applied.or_else(|| time(child, "/metadata/creationTimestamp")),
        ready,
        since: own.as_ref().and_then(|found| time(found, "/lastTransitionTime")),
        why: why.unwrap_or_default(),
    }
}

/// The critical path below the rollout's root span, which is exported only after the rollout ended.
fn path(
    inputs: &TimelineInputs,
    waited: &str,
    spans: &[TraceSpan],
    (from, until): (Timestamp, Timestamp),
) -> Vec<PathStep> {
    if spans.is_empty() {
        return Vec::new();
    }
    let traceparent = text(&inputs.object, "/status/rollout/traceparent");
    let id = traceparent.split('-').nth(2).unwrap_or_default();
    let micros = |at: Timestamp| u64::try_from(at.as_microsecond()).unwrap_or_default();
    let kind = text(&inputs.object, "/kind");
    let open = || TraceSpan {
        id: id.to_owned(),
        name: format!("rollout {kind}"),
        start: micros(from),
        end: micros(until),
        ..TraceSpan::default()
    };
    let root = spans.iter().find(|span| span.id == id).cloned().unwrap_or_else(open);
    let wait_for = |span: &TraceSpan| {
        if span.id == id { format!("wait for {waited}") } else { format!("wait in {}", span.name) }
    };
    critical_path(spans, &root, &wait_for)
}

fn longest_step(path: &[PathStep]) -> Option<TimelinePart> {
    let step = path.iter().max_by_key(|step| step.end - step.start)?;
    Some(TimelinePart {
        name: step.name.clone(),
        from: Timestamp::from_microsecond(i64::try_from(step.start).ok()?).ok()?,
        seconds: seconds(step.end - step.start),
    })
}

fn seconds(micros: u64) -> f64 {
    std::time::Duration::from_micros(micros).as_secs_f64()
}

fn span_summary(spans: &[TraceSpan], path: &[PathStep], from: Timestamp) -> TimelineSpans {
    let from = u64::try_from(from.as_microsecond()).unwrap_or_default();
    let step = |step: &PathStep| SpanStep {
        name: step.name.clone(),
        kind: step.kind,
        offset: seconds(step.start.saturating_sub(from)),
        seconds: seconds(step.end - step.start),
    };
    let failed = |span: &TraceSpan| Some(format!("{}: {}", span.name, span.failure.as_ref()?));
    TimelineSpans {
        count: spans.len(),
        calls: spans.iter().filter(|span| span.is_call).count(),
        failed: spans.iter().filter_map(failed).collect(),
        critical_path: path.iter().map(step).collect(),
    }
}
