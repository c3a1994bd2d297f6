//! The children of a service on KEDA: Deployment, Service, and either `HTTPScaledObject` or `ScaledObject`.
//! Pure.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::DeploymentSpec,
        core::v1::{Container, PodSpec, PodTemplateSpec, Probe, ServicePort, ServiceSpec, TCPSocketAction},
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use crate::{
    api::network::{Metric, Visibility},
    foreign::{
        ChildKind,
        keda::{
            HttpMetric, HttpScaledObjectSpec, HttpTarget, Replicas, ScaleTarget, ScaleTrigger,
            ScaledObjectSpec,
        },
    },
    render::{Child, ChildId, Defaults, IgnoredField, Owner, ValidService, child::ChildBuilder, pod},
};

/// The port of the Service.
const SERVICE_PORT: u16 = 80;

/// The maximum number of replicas if the spec sets none and the minimum is lower.
const DEFAULT_MAX: u32 = 10;

/// Seconds without a request before scaling to zero.
const SCALEDOWN_PERIOD: u32 = 300;

/// The children on KEDA, as fields, so that `children` or `in_order` cannot omit one and still compile.
struct KedaChildren {
    deployment: Child,
    service: Child,
    autoscaler: Child,
}

impl KedaChildren {
    fn in_order(self) -> Vec<Child> {
        let Self { deployment, service, autoscaler } = self;
        vec![deployment, service, autoscaler]
    }
}

/// All children except the secrets, in apply order.
pub(super) fn children(owner: &Owner<'_>, valid: &ValidService, defaults: &Defaults) -> Vec<Child> {
    let autoscaler = match valid.metric {
        Metric::Cpu => scaled_object(owner, valid),
        Metric::Concurrency => {
            http_scaled_object(owner, valid, HttpMetric::Concurrency { target_value: valid.target })
        }
        Metric::Rps => http_scaled_object(
            owner,
            valid,
            HttpMetric::RequestRate { granularity: "1s", target_value: valid.target, window: "1m" },
        ),
    };
    KedaChildren {
        deployment: deployment(owner, valid, defaults),
        service: service(owner, valid),
        autoscaler,
    }
    .in_order()
}

/// Fields of the spec that KEDA cannot honour.
pub(super) fn ignored(valid: &ValidService) -> Vec<IgnoredField> {
    let all = [
        (!valid.ingress, "ingress.enabled", "the HTTP add-on's interceptor cannot restrict its clients"),
        (
            valid.tls,
            "ingress.tls",
            "the HTTP add-on's interceptor serves plain HTTP; terminate TLS in front of it",
        ),
        (
            valid.visibility == Visibility::ClusterLocal,
            "ingress.visibility",
            "the HTTP add-on's interceptor cannot restrict its clients",
        ),
        (
            valid.concurrency_limit.is_some(),
            "scaling.concurrencyLimit",
            "nothing in front of the pods limits concurrency",
        ),
    ];
    all.into_iter()
        .filter(|(asked, ..)| *asked)
        .map(|(_, field, why)| IgnoredField { field, why: why.to_owned() })
        .collect()
}

/// The labels by which the Deployment and the Service select the pods. They are immutable, so they contain
/// only the identity.
fn selector(owner: &Owner<'_>) -> BTreeMap<String, String> {
    BTreeMap::from([(owner.label.0.to_owned(), owner.label.1.to_owned())])
}

/// Without `replicas`: an autoscaler owns that field. The container's environment is the same as on Knative:
/// `PORT`, no variables for other Services, a probe on its port.
fn deployment(owner: &Owner<'_>, valid: &ValidService, defaults: &Defaults) -> Child {
    let annotations = Some(pod::annotations(owner, valid)).filter(|annotations| !annotations.is_empty());
    let spec = DeploymentSpec {
        selector: LabelSelector { match_labels: Some(selector(owner)), ..LabelSelector::default() },
        template: PodTemplateSpec {
            metadata: Some(ObjectMeta { labels: Some(owner.labels()), annotations, ..ObjectMeta::default() }),
            spec: Some(PodSpec {
                containers: vec![container(valid, defaults)],
                enable_service_links: Some(false),
                image_pull_secrets: Some(pod::image_pull_secrets(valid)).filter(|names| !names.is_empty()),
                // Set even if the spec names none: Kubernetes keeps a copy of the name in a field that no
                // manager owns, and would restore the previous account from it.
                service_account_name: Some(valid.pod.service_account.clone()),
                ..PodSpec::default()
            }),
        },
        ..DeploymentSpec::default()
    };
    ChildBuilder::new(ChildId::new(ChildKind::Deployment, &valid.name), spec).build(owner)
}

fn container(valid: &ValidService, defaults: &Defaults) -> Container {
    let container = pod::container(&valid.name, valid, defaults.pod_security);
    Container {
        env: Some(pod::env_with_port(valid)),
        readiness_probe: container.readiness_probe.or_else(|| Some(default_probe(valid.pod.port))),
        ..container
    }
}

/// Knative's default: the port accepts a connection. Probes every second rather than Kubernetes' ten, to
/// shorten starts from zero; the failure threshold keeps Kubernetes' total time.
fn default_probe(port: u16) -> Probe {
    Probe {
        tcp_socket: Some(TCPSocketAction {
            port: IntOrString::Int(port.into()),
            ..TCPSocketAction::default()
        }),
        period_seconds: Some(1),
        failure_threshold: Some(30),
        ..Probe::default()
    }
}

fn service(owner: &Owner<'_>, valid: &ValidService) -> Child {
    let spec = ServiceSpec {
        selector: Some(selector(owner)),
        ports: Some(vec![ServicePort {
            port: SERVICE_PORT.into(),
            target_port: Some(IntOrString::Int(valid.pod.port.into())),
            ..ServicePort::default()
        }]),
        ..ServiceSpec::default()
    };
    ChildBuilder::new(ChildId::new(ChildKind::Service, &valid.name), spec).build(owner)
}

/// The maximum number of replicas: KEDA requires one.
fn max(valid: &ValidService) -> u32 {
    valid.max_scale.unwrap_or_else(|| DEFAULT_MAX.max(valid.min_scale))
}

/// The `Host` headers routed to a service: its host, else names that nobody can register outside the cluster.
pub(crate) fn hosts(name: &str, namespace: &str, host: Option<&str>) -> Vec<String> {
    match host {
        Some(host) => vec![host.to_owned()],
        None => vec![format!("{name}.{namespace}.svc"), format!("{name}.{namespace}.svc.cluster.local")],
    }
}

fn http_scaled_object(owner: &Owner<'_>, valid: &ValidService, scaling_metric: HttpMetric) -> Child {
    let name = &valid.name;
    let spec = HttpScaledObjectSpec {
        hosts: hosts(name, owner.namespace, valid.host.as_deref()),
        scale_target_ref: HttpTarget {
            api_version: ChildKind::Deployment.api_version(),
            kind: ChildKind::Deployment.kind().to_owned(),
            name: name.clone(),
            service: name.clone(),
            port: SERVICE_PORT,
        },
        replicas: Replicas { min: valid.min_scale, max: max(valid) },
        scaledown_period: SCALEDOWN_PERIOD,
        scaling_metric,
    };
    let mut parts = ChildBuilder::new(ChildId::new(ChildKind::HttpScaledObject, name), spec);
    parts.depends_on =
        vec![ChildId::new(ChildKind::Deployment, name), ChildId::new(ChildKind::Service, name)];
    parts.build(owner)
}

/// The minimum is never zero: without a pod, there is no CPU usage to measure.
fn scaled_object(owner: &Owner<'_>, valid: &ValidService) -> Child {
    let name = &valid.name;
    let spec = ScaledObjectSpec {
        scale_target_ref: ScaleTarget {
            api_version: ChildKind::Deployment.api_version(),
            kind: ChildKind::Deployment.kind().to_owned(),
            name: name.clone(),
        },
        min_replica_count: valid.min_scale.max(1),
        max_replica_count: max(valid),
        triggers: vec![ScaleTrigger {
            kind: "cpu",
            metric_type: "Utilization",
            metadata: BTreeMap::from([("value", valid.target.to_string())]),
        }],
    };
    let mut parts = ChildBuilder::new(ChildId::new(ChildKind::ScaledObject, name), spec);
    parts.depends_on = vec![ChildId::new(ChildKind::Deployment, name)];
    parts.build(owner)
}
