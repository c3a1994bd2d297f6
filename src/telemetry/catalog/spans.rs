//! The table of spans: every span that the operator emits, defined once. Names come from here; tests compare
//! the emitted spans with the table in both directions.

pub use crate::telemetry::catalog::span_definition::{Parent, SpanAttribute, SpanDef, SpanStatus, ValueType};

use crate::{
    api::{API_VERSION as ELPIO_API_VERSION, BuildResult, RolloutOutcome},
    telemetry::catalog::{
        attributes::{ChildStep, ErrorType, Kind, ReconcileOutcome, ReconcileStep, Trigger},
        definition::AllowedValues,
        instruments::{CHILDREN, ENGINES, METHODS},
    },
};

const fn text(key: &'static str, by: &'static str) -> SpanAttribute {
    SpanAttribute {
        key,
        value_type: ValueType::Text,
        values: AllowedValues::Described(by),
        present_when: None,
    }
}

const fn word(key: &'static str, words: &'static [&'static str]) -> SpanAttribute {
    SpanAttribute {
        key,
        value_type: ValueType::Text,
        values: AllowedValues::Closed(words),
        present_when: None,
    }
}

const fn number(key: &'static str, by: &'static str) -> SpanAttribute {
    SpanAttribute {
        key,
        value_type: ValueType::Number,
        values: AllowedValues::Described(by),
        present_when: None,
    }
}

const fn only(when: &'static str, attribute: SpanAttribute) -> SpanAttribute {
    SpanAttribute { present_when: Some(when), ..attribute }
}

const NAMESPACE: SpanAttribute = text("k8s.namespace.name", "the object's namespace");
const KIND: SpanAttribute = word("k8s.object.kind", Kind::VALUES);
const API_VERSION: SpanAttribute = word("k8s.object.api_version", &[ELPIO_API_VERSION]);
const NAME: SpanAttribute = text("k8s.object.name", "the object's name");
const UID: SpanAttribute = text("k8s.object.uid", "the object's uid");
const GENERATION: SpanAttribute = number("elpio.generation", "the object's generation");
const KIND_PLACEHOLDER: (&str, AllowedValues) = ("KIND", AllowedValues::Closed(Kind::VALUES));
const METHOD: AllowedValues = AllowedValues::Closed(METHODS);
/// The same in a span name, where `HTTP` stands for `_OTHER`.
const METHOD_NAMES: [&str; METHODS.len()] = {
    let mut names = ["HTTP"; METHODS.len()];
    let mut at = 0;
    while at + 1 < METHODS.len() {
        names[at] = METHODS[at];
        at += 1;
    }
    names
};

/// The values of `error.type` for a build and its tasks.
const BUILD_ERRORS: [&str; 2] = [BUILD_FAILED, "timeout"];
/// `error.type` of a failed build: the semantic conventions' value for an error without a class.
pub(in crate::telemetry) const BUILD_FAILED: &str = "_OTHER";

/// The root of a rollout.
pub static ROLLOUT: SpanDef = SpanDef {
    name: "rollout KIND",
    placeholders: &[KIND_PLACEHOLDER],
    kind: "internal",
    what: "A rollout, emitted when it ends, with its true start and end. Its ids are derived from uid, generation and `elpio.io/rebuild`, so that any \
           replica emits the same span. A function is the caller of its service: it names its own rollout there",
    parents: &[Parent::None, Parent::Caller, Parent::Of("rollout KIND")],
    link: Some("the caller of an earlier rollout, where the object still carries it"),
    attributes: &[
        NAMESPACE,
        KIND,
        API_VERSION,
        NAME,
        UID,
        GENERATION,
        word("elpio.engine", ENGINES),
        word("elpio.outcome", RolloutOutcome::VALUES),
        only("not ready in time", word("error.type", &["timeout"])),
    ],
    statuses: &[
        (SpanStatus::Ok, "when it became ready"),
        (SpanStatus::Error, "when it was not ready in time, described by the failing condition"),
        (SpanStatus::Unset, "when it was superseded, or the object deleted"),
    ],
    exception: None,
};

/// A reconcile.
pub static RECONCILE: SpanDef = SpanDef {
    name: "reconcile KIND",
    placeholders: &[KIND_PLACEHOLDER],
    kind: "internal",
    what: "One reconcile. During a rollout, a child of the rollout span. Afterwards, a root span linked to it, exported only when it wrote something, published an Event, or failed",
    parents: &[Parent::Of("rollout KIND"), Parent::None],
    link: Some("the rollout that ended before; none where it was not sampled"),
    attributes: &[
        NAMESPACE,
        KIND,
        API_VERSION,
        NAME,
        UID,
        GENERATION,
        word("elpio.trigger", Trigger::VALUES),
        number("elpio.attempt", "0 for a first try"),
        only("the engine is known", word("elpio.engine", ENGINES)),
        only("the reconcile was not cancelled", word("elpio.outcome", ReconcileOutcome::VALUES)),
        only("`Ready` is not true", text("elpio.ready.reason", "the reason of the condition `Ready`")),
        only("`Ready` is not true", text("elpio.ready.message", "the message of the condition `Ready`")),
        only("it failed", word("error.type", ErrorType::VALUES)),
    ],
    statuses: &[
        (
            SpanStatus::Error,
            "when the operator failed to do its work, a panic included, or when it is the first reconcile that saw what is wrong with \
             the object, described by reason and message",
        ),
        (SpanStatus::Unset, "else"),
    ],
    exception: Some("it failed"),
};

/// A step of a reconcile.
pub static STEP: SpanDef = SpanDef {
    name: "STEP",
    placeholders: &[("STEP", AllowedValues::Closed(ReconcileStep::VALUES))],
    kind: "internal",
    what: "A step of a reconcile. `status` writes the object's status, `event` the Events; what fails in them is an error of the calls. An Event that is written after \
           its reconcile (again, or the count of a series) is an `event` below the first",
    parents: &[Parent::Of("reconcile KIND"), Parent::Of("STEP")],
    link: None,
    attributes: &[],
    statuses: &[(SpanStatus::Unset, "always")],
    exception: None,
};

/// What a reconcile does to one child.
pub static CHILD_STEP: SpanDef = SpanDef {
    name: "STEP CHILD",
    placeholders: &[
        ("STEP", AllowedValues::Closed(ChildStep::VALUES)),
        ("CHILD", AllowedValues::Closed(CHILDREN)),
    ],
    kind: "internal",
    what: "A child is written, or deleted because it is no longer desired",
    parents: &[Parent::Of("reconcile KIND")],
    link: None,
    attributes: &[word("elpio.child", CHILDREN), only("it failed", word("error.type", ErrorType::VALUES))],
    statuses: &[(SpanStatus::Error, "when it failed"), (SpanStatus::Unset, "else")],
    exception: Some("it failed"),
};

/// A call to the API server.
pub static CALL: SpanDef = SpanDef {
    name: "METHOD TEMPLATE",
    placeholders: &[
        ("METHOD", AllowedValues::Closed(&METHOD_NAMES)),
        ("TEMPLATE", AllowedValues::Described("the path with names as placeholders, as in `url.template`")),
    ],
    kind: "client",
    what: "A call to the API server in a reconcile, until the head of its answer, as \
           `PATCH /apis/serving.knative.dev/v1/namespaces/{namespace}/services/{name}`. Semantic conventions for HTTP. Each carries `Audit-ID: <trace id>-<span id>` of the \
           span, sampled or not, which the API server keeps in its audit log; and `traceparent` and `tracestate` (the flag is `00` where the span is not sampled), which an API server joins only \
           for callers of `system:masters` and `system:monitoring`: for a service account it begins a trace of its own with a link",
    parents: &[Parent::Of("STEP CHILD"), Parent::Of("STEP"), Parent::Of("reconcile KIND")],
    link: None,
    attributes: &[
        SpanAttribute {
            key: "http.request.method",
            value_type: ValueType::Text,
            values: METHOD,
            present_when: None,
        },
        only("the method is `_OTHER`", text("http.request.method_original", "the method as it was sent")),
        text("url.template", "the path with names as placeholders"),
        text("url.full", "the URL, with the scheme that was used"),
        text("server.address", "the API server's host; an IPv6 address without brackets"),
        number("server.port", "its port"),
        only("an answer came", number("http.response.status_code", "HTTP status codes")),
        only(
            "an answer came that names it",
            text(
                "k8s.audit_id",
                "the `Audit-ID` that the API server answered with: finds the call in its audit log",
            ),
        ),
        only(
            "it failed",
            text("error.type", "the status code, or `timeout`, `cancelled`, `connection`, `_OTHER`"),
        ),
    ],
    statuses: &[
        (SpanStatus::Error, "when it failed"),
        (SpanStatus::Unset, "else; a GET that finds nothing has not failed"),
    ],
    exception: Some("no answer came"),
};

/// A function's build.
pub static BUILD: SpanDef = SpanDef {
    name: "BUILD NAME",
    placeholders: &[("NAME", AllowedValues::Described("the function's name"))],
    kind: "server",
    what: "The run of a function's build, emitted when it has ended, with Tekton's times (whole seconds, so it may seem to begin before its rollout); ids \
           are derived from uids. Semantic conventions for CI/CD",
    parents: &[Parent::Of("rollout KIND")],
    link: None,
    attributes: &[
        text("cicd.pipeline.name", "the function's name"),
        text("cicd.pipeline.run.id", "uid of the `PipelineRun`"),
        word("cicd.pipeline.result", &BuildResult::CICD_VALUES),
        word("cicd.pipeline.action.name", &["BUILD"]),
        only("it failed or ran out of time", word("error.type", &BUILD_ERRORS)),
        NAMESPACE,
        word("k8s.object.kind", &["PipelineRun"]),
        text("k8s.object.name", "its name"),
        text("k8s.object.uid", "its uid"),
    ],
    statuses: &[
        (SpanStatus::Error, "when it failed, ran out of time or was cancelled, described by why"),
        (SpanStatus::Unset, "else"),
    ],
    exception: None,
};

/// A task of a build.
pub static TASK: SpanDef = SpanDef {
    name: "task NAME",
    placeholders: &[("NAME", AllowedValues::Described("the task's name in the pipeline"))],
    kind: "internal",
    what: "A task of a build, emitted with it. One that Tekton had not ended by then ends with its run",
    parents: &[Parent::Of("BUILD NAME")],
    link: None,
    attributes: &[
        text("cicd.pipeline.task.name", "the task's name in the pipeline"),
        text("cicd.pipeline.task.run.id", "uid of the `TaskRun`"),
        word("cicd.pipeline.task.type", &["build"]),
        word("cicd.pipeline.task.run.result", &BuildResult::CICD_VALUES),
        only("it failed or ran out of time", word("error.type", &BUILD_ERRORS)),
        word("k8s.object.kind", &["TaskRun"]),
        text("k8s.object.name", "its name"),
    ],
    statuses: &[
        (SpanStatus::Error, "when it failed, ran out of time or was cancelled, described by why"),
        (SpanStatus::Unset, "else"),
    ],
    exception: None,
};

/// Every span.
pub static SPANS: &[&SpanDef] = &[&ROLLOUT, &RECONCILE, &STEP, &CHILD_STEP, &CALL, &BUILD, &TASK];

/// The attributes of the log record `exception`.
pub const EXCEPTION: [(&str, &str); 2] =
    [("exception.type", "as `error.type`"), ("exception.message", "the whole chain of causes")];

/// The row for a span with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static SpanDef> {
    SPANS.iter().find(|row| row.matches(name)).copied()
}
