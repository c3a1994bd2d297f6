//! THE table of instruments: every name, unit, bucket, attribute value and limit. Data only; it records
//! nothing.
//!
//! `otel/instruments.md` is generated from it; tests check dashboards and alert rules against it. An
//! instrument without a row here cannot be created.

pub use crate::telemetry::catalog::definition::{AllowedValues, Attribute, InstrumentDef, InstrumentKind};

use crate::{
    api::{
        BuildResult, Engine,
        condition::StateReason,
        event::{EventReason, EventType},
    },
    foreign::ChildKind,
    telemetry::catalog::{
        attributes::{
            ApplyOutcome, CpuMode, DropCause, ErrorType, EventOutcome, ExportResult, Kind, NO_ENGINE,
            ReadyValue, RolloutResult, Signal, Trigger,
        },
        resources::WATCHED,
    },
};

const fn closed(key: &'static str, values: &'static [&'static str]) -> Attribute {
    Attribute { key, values: AllowedValues::Closed(values) }
}

const fn bounded(key: &'static str, by: &'static str) -> Attribute {
    Attribute { key, values: AllowedValues::Described(by) }
}

const fn row(
    name: &'static str,
    kind: InstrumentKind,
    unit: &'static str,
    prometheus_name: &'static str,
    description: &'static str,
) -> InstrumentDef {
    InstrumentDef {
        name,
        kind,
        unit,
        description,
        prometheus_name,
        buckets: &[],
        attributes: &[],
        is_valid: None,
        volatile: false,
        exemplars: false,
        cardinality_limit: 100,
    }
}

/// prometheus-client's default buckets, with finer and coarser ones at the ends.
const RECONCILE_BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0,
    60.0,
];
const ROLLOUT_BUCKETS: &[f64] =
    &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0];
const BUILD_BUCKETS: &[f64] =
    &[1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 900.0, 1200.0, 1800.0, 3600.0];
/// client-go's buckets: `ExponentialBuckets(10e-9, 10, 12)`.
const QUEUE_BUCKETS: &[f64] = &[1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0];
/// The semantic conventions' buckets for `http.client.request.duration`.
const HTTP_BUCKETS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// The kinds of children, as labels.
pub const CHILDREN: &[&str] = &{
    let mut labels = [""; ChildKind::ALL.len() - 1];
    let (mut from, mut to) = (0, 0);
    while from < ChildKind::ALL.len() {
        if ChildKind::ALL[from].is_written() {
            labels[to] = ChildKind::ALL[from].label();
            to += 1;
        }
        from += 1;
    }
    labels
};
/// The engines; `none` for a function, and for a service whose engine is still unknown.
pub const ENGINES: &[&str] = &{
    let mut labels = [NO_ENGINE; Engine::ALL.len() + 1];
    let mut at = 0;
    while at < Engine::ALL.len() {
        labels[at] = Engine::ALL[at].as_str();
        at += 1;
    }
    labels
};
/// HTTP methods (semantic conventions: all others are `_OTHER`).
pub const METHODS: &[&str] =
    &["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE", "QUERY", "_OTHER"];
/// The leader election's name, as a label. Installations for some namespaces have it too, although their
/// Lease has another name.
pub const LEADER_ELECTION: &str = "elpio-operator";

const KIND: Attribute = closed("kind", Kind::VALUES);
const NAME: Attribute = closed("name", Kind::VALUES);
const RESOURCE: Attribute = closed("resource", &WATCHED);
const SIGNAL: Attribute = closed("signal", Signal::VALUES);

/// Whether a kind can have such children.
fn child_of_kind(values: &[&str]) -> bool {
    let kind = values.first().and_then(|kind| Kind::parse(kind));
    let child = ChildKind::ALL.into_iter().find(|child| values.get(1) == Some(&child.label()));
    child.is_some_and(|child| child.is_of_function() == (kind == Some(Kind::ElpioFunction)))
}

/// Whether an Event with this reason can have this type.
fn event_of_type(values: &[&str]) -> bool {
    let type_ = values.first().and_then(|type_| EventType::parse(type_));
    let reason = values.get(1).and_then(|reason| EventReason::parse(reason));
    type_.zip(reason).is_some_and(|(type_, reason)| reason.types().contains(&type_))
}

/// Whether objects of a kind can have this engine: functions have none.
fn engine_of_kind(values: &[&str]) -> bool {
    values.first() != Some(&Kind::ElpioFunction.as_str()) || values.get(1) == Some(&NO_ENGINE)
}

/// Whether objects of a kind can be in this state: a ready object has only one reason, and a kind has no
/// reasons of the other kind's parts.
fn state_of_kind(values: &[&str]) -> bool {
    let [kind, ready, reason] = values else { return false };
    let (Some(kind), Some(ready), Some(reason)) =
        (Kind::parse(kind), ReadyValue::parse(ready), StateReason::parse(reason))
    else {
        return false;
    };
    let of_kind = match reason {
        StateReason::Building | StateReason::BuildFailed | StateReason::ServiceNotReady => {
            kind == Kind::ElpioFunction
        }
        StateReason::DomainNotReady | StateReason::SecretsNotReady => kind == Kind::ElpioService,
        _ => true,
    };
    of_kind && (ready != ReadyValue::True || reason == StateReason::Reconciled)
}

/// Reconciles.
pub static RECONCILE: InstrumentDef = InstrumentDef {
    attributes: &[KIND, closed("result", ExportResult::VALUES)],
    ..row(
        "elpio.reconcile",
        InstrumentKind::Counter,
        "{reconcile}",
        "elpio_reconcile_total",
        "Reconciles that ended; result=error means that the operator failed to do its work",
    )
};
/// Duration of reconciles.
pub static RECONCILE_DURATION: InstrumentDef = InstrumentDef {
    attributes: &[KIND],
    buckets: RECONCILE_BUCKETS,
    exemplars: true,
    ..row(
        "elpio.reconcile.duration",
        InstrumentKind::Histogram,
        "s",
        "elpio_reconcile_duration_seconds",
        "Time that a reconcile took",
    )
};
/// Services that are ready.
pub static SERVICES_READY: InstrumentDef = row(
    "elpio.services.ready",
    InstrumentKind::ObservableGauge,
    "{service}",
    "elpio_services_ready",
    "ElpioService objects that are ready; shown by the leader, 0 on a replica that has led",
);
/// Failures by class.
pub static RECONCILE_ERRORS: InstrumentDef = InstrumentDef {
    attributes: &[KIND, closed("error.type", ErrorType::VALUES)],
    ..row(
        "elpio.reconcile.errors",
        InstrumentKind::Counter,
        "{error}",
        "elpio_reconcile_errors_total",
        "Reconciles that failed, by the class of the failure",
    )
};
/// Reconciles in flight.
pub static RECONCILE_ACTIVE: InstrumentDef = InstrumentDef {
    attributes: &[KIND],
    ..row(
        "elpio.reconcile.active",
        InstrumentKind::UpDownCounter,
        "{reconcile}",
        "elpio_reconcile_active",
        "Reconciles that run now",
    )
};
/// Reconciles that may apply their children concurrently.
pub static WORKERS: InstrumentDef = InstrumentDef {
    attributes: &[KIND],
    ..row(
        "elpio.workers",
        InstrumentKind::ObservableGauge,
        "{worker}",
        "elpio_workers",
        "Reconciles that may apply their children at once, for each engine",
    )
};
/// Triggers of reconciles.
pub static RECONCILE_TRIGGERS: InstrumentDef = InstrumentDef {
    attributes: &[KIND, closed("trigger", Trigger::VALUES)],
    ..row(
        "elpio.reconcile.triggers",
        InstrumentKind::Counter,
        "{reconcile}",
        "elpio_reconcile_triggers_total",
        "Reconciles that began, by what caused them",
    )
};
/// Writes of children.
pub static APPLY: InstrumentDef = InstrumentDef {
    attributes: &[KIND, closed("child", CHILDREN), closed("outcome", ApplyOutcome::VALUES)],
    is_valid: Some(child_of_kind),
    ..row(
        "elpio.apply",
        InstrumentKind::Counter,
        "{child}",
        "elpio_apply_total",
        "Children applied or deleted; changed over and over is a fight with another manager",
    )
};
/// Objects by state.
pub static RESOURCES_BY_STATE: InstrumentDef = InstrumentDef {
    attributes: &[KIND, closed("ready", ReadyValue::VALUES), closed("reason", StateReason::VALUES)],
    is_valid: Some(state_of_kind),
    ..row(
        "elpio.resources",
        InstrumentKind::ObservableGauge,
        "{resource}",
        "elpio_resources",
        "Objects by state and reason; shown by the leader, 0 on a replica that has led",
    )
};
/// The oldest change that no status has observed.
pub static UNSETTLED_AGE: InstrumentDef = InstrumentDef {
    attributes: &[KIND],
    volatile: true,
    ..row(
        "elpio.resources.unsettled.age",
        InstrumentKind::ObservableGauge,
        "s",
        "elpio_resources_unsettled_age_seconds",
        "Age of the oldest object whose generation is not yet observed; shown by the leader, 0 on a replica that has led",
    )
};
/// Rollouts that ended.
pub static ROLLOUTS: InstrumentDef = InstrumentDef {
    attributes: &[KIND, closed("engine", ENGINES), closed("outcome", RolloutResult::VALUES)],
    is_valid: Some(engine_of_kind),
    ..row(
        "elpio.rollouts",
        InstrumentKind::Counter,
        "{rollout}",
        "elpio_rollouts_total",
        "Rollouts that ended, by how; the same ends as in elpio.rollout.duration, from 0. author_error: timed out, while the object was InvalidSpec, NameConflict or BuildFailed, or ApplyFailed by a quota, a limit, a policy or a webhook",
    )
};
/// Duration of rollouts.
pub static ROLLOUT_DURATION: InstrumentDef = InstrumentDef {
    attributes: &[KIND, closed("engine", ENGINES), closed("outcome", RolloutResult::VALUES)],
    buckets: ROLLOUT_BUCKETS,
    exemplars: true,
    ..row(
        "elpio.rollout.duration",
        InstrumentKind::Histogram,
        "s",
        "elpio_rollout_duration_seconds",
        "Time from the first sight of an edit to the end of its rollout",
    )
};
/// Builds that ended.
pub static BUILDS: InstrumentDef = InstrumentDef {
    attributes: &[closed("result", BuildResult::VALUES)],
    ..row(
        "elpio.builds",
        InstrumentKind::Counter,
        "{build}",
        "elpio_builds_total",
        "Builds of functions that ended, by how; the same ends as in elpio.build.duration, from 0",
    )
};
/// Duration of builds.
pub static BUILD_DURATION: InstrumentDef = InstrumentDef {
    attributes: &[closed("result", BuildResult::VALUES)],
    buckets: BUILD_BUCKETS,
    ..row(
        "elpio.build.duration",
        InstrumentKind::Histogram,
        "s",
        "elpio_build_duration_seconds",
        "Time that a function's build took",
    )
};
/// Events.
pub static EVENTS: InstrumentDef = InstrumentDef {
    attributes: &[
        closed("type", EventType::VALUES),
        closed("reason", EventReason::VALUES),
        closed("outcome", EventOutcome::VALUES),
    ],
    is_valid: Some(event_of_type),
    ..row(
        "elpio.events",
        InstrumentKind::Counter,
        "{event}",
        "elpio_events_total",
        "Occurrences of Events, by what became of them",
    )
};
/// Queue: length.
pub static QUEUE_DEPTH: InstrumentDef = InstrumentDef {
    attributes: &[NAME],
    ..row(
        "workqueue.depth",
        InstrumentKind::ObservableGauge,
        "{item}",
        "workqueue_depth",
        "Keys that wait in the work queue",
    )
};
/// Queue: additions.
pub static QUEUE_ADDS: InstrumentDef = InstrumentDef {
    attributes: &[NAME],
    ..row(
        "workqueue.adds",
        InstrumentKind::Counter,
        "{item}",
        "workqueue_adds_total",
        "Keys added to the work queue",
    )
};
/// Queue: additions after a failure.
pub static QUEUE_RETRIES: InstrumentDef = InstrumentDef {
    attributes: &[NAME],
    ..row(
        "workqueue.retries",
        InstrumentKind::Counter,
        "{item}",
        "workqueue_retries_total",
        "Keys added again to the work queue after a failure",
    )
};
/// Queue: wait time.
pub static QUEUE_DURATION: InstrumentDef = InstrumentDef {
    attributes: &[NAME],
    buckets: QUEUE_BUCKETS,
    ..row(
        "workqueue.queue.duration",
        InstrumentKind::Histogram,
        "s",
        "workqueue_queue_duration_seconds",
        "Time that a key waited in the work queue after it was due",
    )
};
/// Queue: work time.
pub static WORK_DURATION: InstrumentDef = InstrumentDef {
    attributes: &[NAME],
    buckets: QUEUE_BUCKETS,
    ..row(
        "workqueue.work.duration",
        InstrumentKind::Histogram,
        "s",
        "workqueue_work_duration_seconds",
        "Time that processing a key took",
    )
};
/// Queue: unfinished work.
pub static UNFINISHED_WORK: InstrumentDef = InstrumentDef {
    attributes: &[NAME],
    volatile: true,
    ..row(
        "workqueue.unfinished_work",
        InstrumentKind::ObservableGauge,
        "s",
        "workqueue_unfinished_work_seconds",
        "Seconds of work under way that work.duration has not yet seen",
    )
};
/// Queue: longest-running work.
pub static LONGEST_PROCESSOR: InstrumentDef = InstrumentDef {
    attributes: &[NAME],
    volatile: true,
    ..row(
        "workqueue.longest_running_processor",
        InstrumentKind::ObservableGauge,
        "s",
        "workqueue_longest_running_processor_seconds",
        "Seconds that the longest work under way has taken",
    )
};
/// Calls to the API server.
pub static HTTP_CLIENT_DURATION: InstrumentDef = InstrumentDef {
    attributes: &[
        closed("http.request.method", METHODS),
        bounded(
            "url.template",
            "paths of the APIs that the operator uses, with names as placeholders; constant for other APIs",
        ),
        bounded("http.response.status_code", "HTTP status codes; absent when no answer came"),
        bounded(
            "error.type",
            "the status code, or timeout, cancelled, connection, _OTHER; absent on success and on a GET that finds nothing",
        ),
        bounded("server.address", "the API server's host"),
        bounded("server.port", "its port"),
    ],
    buckets: HTTP_BUCKETS,
    exemplars: true,
    cardinality_limit: 1000,
    ..row(
        "http.client.request.duration",
        InstrumentKind::Histogram,
        "s",
        "http_client_request_duration_seconds",
        "Time from a request to the API server to the head of its answer",
    )
};
/// Watch events.
pub static WATCH_EVENTS: InstrumentDef = InstrumentDef {
    attributes: &[RESOURCE],
    ..row(
        "elpio.watch.events",
        InstrumentKind::Counter,
        "{event}",
        "elpio_watch_events_total",
        "Objects delivered by watches, initial lists included",
    )
};
/// Watch restarts.
pub static WATCH_RESTARTS: InstrumentDef = InstrumentDef {
    attributes: &[RESOURCE],
    ..row(
        "elpio.watch.restarts",
        InstrumentKind::Counter,
        "{restart}",
        "elpio_watch_restarts_total",
        "Watches that broke and were begun again",
    )
};
/// Watch silence: the age of the last event.
pub static WATCH_AGE: InstrumentDef = InstrumentDef {
    attributes: &[RESOURCE],
    volatile: true,
    ..row(
        "elpio.watch.age",
        InstrumentKind::ObservableGauge,
        "s",
        "elpio_watch_age_seconds",
        "Time since the last byte of the watch, bookmarks included",
    )
};
/// Forbidden watches.
pub static WATCH_REFUSED: InstrumentDef = InstrumentDef {
    attributes: &[bounded("scope", "the namespaces of `ELPIO_NAMESPACES`, or `all`")],
    ..row(
        "elpio.watch.refused",
        InstrumentKind::ObservableGauge,
        "{watch}",
        "elpio_watch_refused",
        "Watches that the API server does not permit, by the namespace that they are for; 0 once they are permitted again",
    )
};
/// Leadership.
pub static LEADER: InstrumentDef = InstrumentDef {
    attributes: &[closed("name", &[LEADER_ELECTION])],
    ..row(
        "leader_election.master_status",
        InstrumentKind::ObservableGauge,
        "",
        "leader_election_master_status",
        "1 when this replica leads, 0 when it is a standby",
    )
};
/// Exports.
pub static EXPORTS: InstrumentDef = InstrumentDef {
    attributes: &[SIGNAL, closed("result", ExportResult::VALUES)],
    volatile: true,
    ..row(
        "elpio.telemetry.exports",
        InstrumentKind::ObservableCounter,
        "{export}",
        "elpio_telemetry_exports_total",
        "Exports of telemetry, retries within an export not counted",
    )
};
/// Lost telemetry.
pub static DROPPED: InstrumentDef = InstrumentDef {
    attributes: &[SIGNAL, closed("result", DropCause::VALUES)],
    volatile: true,
    ..row(
        "elpio.telemetry.dropped",
        InstrumentKind::ObservableCounter,
        "{item}",
        "elpio_telemetry_dropped_total",
        "Spans, log records and data points lost: no room in the queue, their export failed, or the collector rejected them",
    )
};
/// Build and runtime information.
pub static BUILD_INFO: InstrumentDef = InstrumentDef {
    attributes: &[bounded("version", "one"), bounded("revision", "one"), bounded("rustc", "one")],
    ..row(
        "elpio.build_info",
        InstrumentKind::ObservableGauge,
        "",
        "elpio_build_info",
        "Always 1; what this operator was built from",
    )
};
/// CPU time.
pub static PROCESS_CPU: InstrumentDef = InstrumentDef {
    attributes: &[closed("cpu.mode", CpuMode::VALUES)],
    volatile: true,
    ..row(
        "process.cpu.time",
        InstrumentKind::ObservableCounter,
        "s",
        "process_cpu_time_seconds_total",
        "Processor time that the process used",
    )
};
/// Memory.
pub static PROCESS_MEMORY: InstrumentDef = InstrumentDef {
    volatile: true,
    ..row(
        "process.memory.usage",
        InstrumentKind::ObservableUpDownCounter,
        "By",
        "process_memory_usage_bytes",
        "Physical memory that the process uses",
    )
};
/// Uptime.
pub static PROCESS_UPTIME: InstrumentDef = InstrumentDef {
    volatile: true,
    ..row(
        "process.uptime",
        InstrumentKind::ObservableGauge,
        "s",
        "process_uptime_seconds",
        "Time that the process has been running",
    )
};
/// File descriptors.
pub static PROCESS_FDS: InstrumentDef = InstrumentDef {
    volatile: true,
    ..row(
        "process.open_fds",
        InstrumentKind::ObservableUpDownCounter,
        "{file_descriptor}",
        "process_open_fds",
        "File descriptors that the process holds",
    )
};

/// Every instrument.
pub static INSTRUMENTS: &[&InstrumentDef] = &[
    &RECONCILE,
    &RECONCILE_DURATION,
    &SERVICES_READY,
    &RECONCILE_ERRORS,
    &RECONCILE_ACTIVE,
    &WORKERS,
    &RECONCILE_TRIGGERS,
    &APPLY,
    &RESOURCES_BY_STATE,
    &UNSETTLED_AGE,
    &ROLLOUTS,
    &ROLLOUT_DURATION,
    &BUILDS,
    &BUILD_DURATION,
    &EVENTS,
    &QUEUE_DEPTH,
    &QUEUE_ADDS,
    &QUEUE_RETRIES,
    &QUEUE_DURATION,
    &WORK_DURATION,
    &UNFINISHED_WORK,
    &LONGEST_PROCESSOR,
    &HTTP_CLIENT_DURATION,
    &WATCH_EVENTS,
    &WATCH_RESTARTS,
    &WATCH_AGE,
    &WATCH_REFUSED,
    &LEADER,
    &EXPORTS,
    &DROPPED,
    &BUILD_INFO,
    &PROCESS_CPU,
    &PROCESS_MEMORY,
    &PROCESS_UPTIME,
    &PROCESS_FDS,
];

/// The row with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static InstrumentDef> {
    INSTRUMENTS.iter().find(|row| row.name == name).copied()
}
