//! What the registry of conventions states of names beside the catalog: which are others', examples, briefs. It is
//! data.

/// Attributes that OpenTelemetry's own conventions define: the registry refers to them.
pub const CONVENTIONS: &[&str] = &[
    "cicd.pipeline.action.name",
    "cicd.pipeline.name",
    "cicd.pipeline.result",
    "cicd.pipeline.run.id",
    "cicd.pipeline.task.name",
    "cicd.pipeline.task.run.id",
    "cicd.pipeline.task.run.result",
    "cicd.pipeline.task.type",
    "cpu.mode",
    "error.type",
    "exception.message",
    "exception.type",
    "http.request.method",
    "http.request.method_original",
    "http.response.status_code",
    "k8s.cluster.uid",
    "k8s.namespace.name",
    "k8s.node.name",
    "k8s.pod.name",
    "k8s.pod.uid",
    "server.address",
    "server.port",
    "service.instance.id",
    "service.name",
    "service.namespace",
    "service.version",
    "telemetry.sdk.language",
    "telemetry.sdk.name",
    "telemetry.sdk.version",
    "url.full",
    "url.template",
];

/// Metrics that do not change: dashboards of users depend on them.
pub const STABLE: &[&str] = &["elpio.reconcile", "elpio.reconcile.duration", "elpio.services.ready"];

/// Resource attributes, and when they are there.
pub const RESOURCE: &[(&str, Option<&str>)] = &[
    ("service.name", None),
    ("service.namespace", None),
    ("service.version", None),
    ("service.instance.id", None),
    ("telemetry.sdk.language", None),
    ("telemetry.sdk.name", None),
    ("telemetry.sdk.version", None),
    ("k8s.cluster.uid", Some("when the API server answers at start")),
    ("k8s.namespace.name", Some("in a cluster")),
    ("k8s.node.name", Some("in a cluster")),
    ("k8s.pod.name", Some("in a cluster")),
    ("k8s.pod.uid", Some("in a cluster")),
];

/// What an attribute is.
pub const NOTES: &[(&str, &str)] = &[
    ("child", "The kind of a child that the operator writes."),
    ("elpio.attempt", "Attempts in a row that failed before this one."),
    ("elpio.child", "The kind of a child that the operator writes."),
    ("elpio.engine", "What serves the object."),
    ("elpio.generation", "The generation of the object."),
    ("elpio.outcome", "What a reconcile or a rollout came to."),
    ("elpio.ready.message", "The message of the condition Ready."),
    ("elpio.ready.reason", "The reason of the condition Ready."),
    ("elpio.trigger", "What caused a reconcile."),
    ("engine", "What serves the object; none for a function, and for a service before its engine is known."),
    ("k8s.audit_id", "The id of the call in the API server's audit log."),
    ("k8s.event.action", "The action of an Event."),
    ("k8s.event.reason", "The reason of an Event."),
    ("k8s.object.api_version", "The API version of an object."),
    ("k8s.object.kind", "The kind of an object."),
    ("k8s.object.name", "The name of an object."),
    ("k8s.object.uid", "The uid of an object."),
    ("kind", "The kind of an object."),
    ("name", "The name of a work queue, which is the kind of its objects, or of a Lease."),
    ("outcome", "How something ended: a rollout, the write of a child, an Event."),
    ("ready", "The status of the condition Ready."),
    ("reason", "The reason of a condition or of an Event."),
    ("resource", "What is watched."),
    ("result", "Whether something succeeded; for losses, why; for builds, how they ended."),
    ("revision", "The revision that the operator was built from."),
    ("rustc", "The compiler that built the operator."),
    ("scope", "The namespace that a watch is for."),
    ("signal", "A signal of OpenTelemetry."),
    ("trigger", "What caused a reconcile."),
    ("type", "The type of an Event."),
    ("version", "The version of the operator."),
];

/// An example of an attribute whose values are not closed.
pub const EXAMPLES: &[(&str, &str)] = &[
    ("elpio.ready.message", "0 of 1 replicas are available"),
    ("elpio.ready.reason", "Progressing"),
    ("k8s.audit_id", "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"),
    ("k8s.event.action", "Apply"),
    ("k8s.object.api_version", "elpio.io/v1alpha1"),
    ("k8s.object.name", "web"),
    ("k8s.object.uid", "3f1c2a52-9e0c-4a8c-9c0a-0d5ad7b0f6a1"),
    ("revision", "a1b2c3d"),
    ("rustc", "1.95.0"),
    ("scope", "shop"),
    ("version", "0.1.0"),
];
