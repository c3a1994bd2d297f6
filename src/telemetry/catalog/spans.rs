//! The table of spans: every span that the operator emits, stated once. Names come from here; tests hold what
//! is emitted to it, and it to what is emitted.

use crate::telemetry::catalog::{
    attributes::{ChildStep, ErrorType, Kind, ReconcileOutcome, ReconcileStep, Trigger},
    instruments::{AllowedValues, CHILDREN, ENGINES, METHODS, ROLLOUT_OUTCOMES},
};

/// What an attribute's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// A string.
    Text,
    /// A whole number.
    Number,
}

/// An attribute of a span.
#[derive(Clone, Copy, Debug)]
pub struct Attribute {
    /// Its key.
    pub key: &'static str,
    /// What its value is.
    pub form: ValueType,
    /// What it may hold.
    pub values: AllowedValues,
    /// When it is there; `None`: always.
    pub present: Option<&'static str>,
}

/// What a span may be a child of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// Nothing: it is a root.
    None,
    /// The span that a caller named on the object.
    Caller,
    /// A span of the row of this name.
    Of(&'static str),
}

/// The status of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanStatus {
    /// Not set.
    Unset,
    /// Set to ok.
    Ok,
    /// Set to error, with a description or without.
    Error,
}

/// One span.
#[derive(Clone, Copy, Debug)]
pub struct SpanDef {
    /// Its name; words in capitals stand for something.
    pub name: &'static str,
    /// What they stand for.
    pub placeholders: &'static [(&'static str, AllowedValues)],
    /// Whether its kind is `client`; else `internal`.
    pub client: bool,
    /// What it is, and when it is emitted.
    pub what: &'static str,
    /// What it may be a child of.
    pub parents: &'static [Parent],
    /// What it is linked to, and when.
    pub link: Option<&'static str>,
    /// Its attributes.
    pub attributes: &'static [Attribute],
    /// The statuses that it may have, and when.
    pub statuses: &'static [(SpanStatus, &'static str)],
    /// When it has the event `exception`.
    pub exception: Option<&'static str>,
}

const fn text(key: &'static str, by: &'static str) -> Attribute {
    Attribute { key, form: ValueType::Text, values: AllowedValues::Described(by), present: None }
}

const fn word(key: &'static str, words: &'static [&'static str]) -> Attribute {
    Attribute { key, form: ValueType::Text, values: AllowedValues::Closed(words), present: None }
}

const fn number(key: &'static str, by: &'static str) -> Attribute {
    Attribute { key, form: ValueType::Number, values: AllowedValues::Described(by), present: None }
}

const fn only(when: &'static str, attribute: Attribute) -> Attribute {
    Attribute { present: Some(when), ..attribute }
}

const NAMESPACE: Attribute = text("k8s.namespace.name", "the object's namespace");
const KIND: Attribute = word("k8s.object.kind", Kind::VALUES);
const API_VERSION: Attribute = word("k8s.object.api_version", &["elpio.io/v1alpha1"]);
const NAME: Attribute = text("k8s.object.name", "the object's name");
const UID: Attribute = text("k8s.object.uid", "the object's uid");
const GENERATION: Attribute = number("elpio.generation", "the object's generation");
const KIND_PLACEHOLDER: (&str, AllowedValues) = ("KIND", AllowedValues::Closed(Kind::VALUES));
const METHOD: AllowedValues = AllowedValues::Closed(METHODS);

/// The root of a rollout.
pub static ROLLOUT: SpanDef = SpanDef {
    name: "rollout KIND",
    placeholders: &[KIND_PLACEHOLDER],
    client: false,
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
        word("elpio.outcome", ROLLOUT_OUTCOMES),
        only("not ready in time", word("error.type", &["timeout"])),
    ],
    statuses: &[
        (SpanStatus::Ok, "when it became ready"),
        (SpanStatus::Error, "when it was not ready in time, described by the failing condition"),
        (SpanStatus::Unset, "when it was superseded, or the object deleted"),
    ],
    exception: None,
};

/// A run of the reconciler.
pub static RECONCILE: SpanDef = SpanDef {
    name: "reconcile KIND",
    placeholders: &[KIND_PLACEHOLDER],
    client: false,
    what: "One run. In a rollout it is a child of it. After it, it is a root with a link, exported only when the run wrote or said something, or failed",
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
        only("the run was not cut short", word("elpio.outcome", ReconcileOutcome::VALUES)),
        only("it failed", word("error.type", ErrorType::VALUES)),
    ],
    statuses: &[(SpanStatus::Error, "when the operator failed to do its work"), (SpanStatus::Unset, "else")],
    exception: Some("it failed"),
};

/// A step of a run.
pub static STEP: SpanDef = SpanDef {
    name: "STEP",
    placeholders: &[("STEP", AllowedValues::Closed(ReconcileStep::VALUES))],
    client: false,
    what: "A step of a run. `status` writes the object's status, `event` the Events; what fails in them is told by the calls",
    parents: &[Parent::Of("reconcile KIND")],
    link: None,
    attributes: &[],
    statuses: &[(SpanStatus::Unset, "always")],
    exception: None,
};

/// What a run does to one child.
pub static CHILD_STEP: SpanDef = SpanDef {
    name: "STEP CHILD",
    placeholders: &[
        ("STEP", AllowedValues::Closed(ChildStep::VALUES)),
        ("CHILD", AllowedValues::Closed(CHILDREN)),
    ],
    client: false,
    what: "A child is written, or deleted because it is wanted no more",
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
        ("METHOD", METHOD),
        ("TEMPLATE", AllowedValues::Described("the path with names as placeholders, as in `url.template`")),
    ],
    client: true,
    what: "A call to the API server in a run, until the head of its answer, as \
           `PATCH /apis/serving.knative.dev/v1/namespaces/{namespace}/services/{name}`. Semantic conventions for HTTP; `traceparent` is sent, so that a server \
           that traces joins",
    parents: &[Parent::Of("STEP CHILD"), Parent::Of("STEP"), Parent::Of("reconcile KIND")],
    link: None,
    attributes: &[
        Attribute { key: "http.request.method", form: ValueType::Text, values: METHOD, present: None },
        text("url.template", "the path with names as placeholders"),
        text("url.full", "the URL"),
        text("server.address", "the API server's host"),
        number("server.port", "its port"),
        only("an answer came", number("http.response.status_code", "HTTP status codes")),
        only(
            "an answer came that names it",
            text("k8s.audit_id", "the API server's `Audit-Id`: finds the call in its audit log"),
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
    name: "build NAME",
    placeholders: &[("NAME", AllowedValues::Described("the function's name"))],
    client: false,
    what: "The run of a function's build, emitted when it has ended, with Tekton's times (whole seconds, so it may seem to begin before its rollout); ids \
           are derived from uids. Semantic conventions for CI/CD",
    parents: &[Parent::Of("rollout KIND")],
    link: None,
    attributes: &[
        text("cicd.pipeline.name", "the function's name"),
        text("cicd.pipeline.run.id", "uid of the `PipelineRun`"),
        word("cicd.pipeline.result", &["success", "failure", "cancellation"]),
        word("cicd.pipeline.action.name", &["BUILD"]),
        NAMESPACE,
        word("k8s.object.kind", &["PipelineRun"]),
        text("k8s.object.name", "its name"),
        text("k8s.object.uid", "its uid"),
    ],
    statuses: &[
        (SpanStatus::Error, "when it failed or was cancelled, described by why"),
        (SpanStatus::Unset, "else"),
    ],
    exception: None,
};

/// A task of a build.
pub static TASK: SpanDef = SpanDef {
    name: "task NAME",
    placeholders: &[("NAME", AllowedValues::Described("the task's name in the pipeline"))],
    client: false,
    what: "A task of a build, emitted with it. One that Tekton had not ended by then ends with its run",
    parents: &[Parent::Of("build NAME")],
    link: None,
    attributes: &[
        text("cicd.pipeline.task.name", "the task's name in the pipeline"),
        text("cicd.pipeline.task.run.id", "uid of the `TaskRun`"),
        word("cicd.pipeline.task.type", &["build"]),
        word("cicd.pipeline.task.run.result", &["success", "failure", "timeout", "cancellation"]),
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

/// The attributes of the event `exception`.
pub const EXCEPTION: [(&str, &str); 2] =
    [("exception.type", "as `error.type`"), ("exception.message", "the whole chain of causes")];

impl SpanDef {
    /// The name of a span of this row whose last place is taken by `what`.
    pub(in crate::telemetry) fn name_for(&self, what: &str) -> String {
        let fixed = self.name.rsplit_once(' ').map_or("", |(fixed, _)| fixed);
        format!("{fixed} {what}")
    }

    /// Whether a span of this name is of this row.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let words: Vec<&str> = self.name.split(' ').collect();
        let given: Vec<&str> = name.splitn(words.len(), ' ').collect();
        let fits =
            |(word, given): (&&str, &&str)| match self.placeholders.iter().find(|(place, _)| place == word) {
                Some((_, values)) => values.allow(given),
                None => word == given,
            };
        words.len() == given.len() && words.iter().zip(&given).all(fits)
    }
}

/// The row of a span of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static SpanDef> {
    SPANS.iter().find(|row| row.matches(name)).copied()
}
