//! The children of a service that KEDA scales: Deployment, Service, and one of `HTTPScaledObject` and
//! `ScaledObject`. Pure.

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

/// Maximum number of replicas where the spec sets no limit and asks for fewer at least.
const DEFAULT_MAX: u32 = 10;

/// Seconds without a request before the last replica goes.
const SCALEDOWN_PERIOD: u32 = 300;

/// The children on KEDA. A child that `children` does not render, or that `in_order` forgets, does not compile.
struct KedaChildren {
    deployment: Child,
    service: Child,
    autoscaler: Child,
}

impl KedaChildren {
    /// In the order in which they are applied.
    fn in_order(self) -> Vec<Child> {
        let Self { deployment, service, autoscaler } = self;
        vec![deployment, service, autoscaler]
    }
}

/// Everything but the secrets, in the order in which it is applied.
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

/// What the spec asks and KEDA cannot do.
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

/// The labels by which the Deployment and the Service find the pods; they can never change, so only what
/// identifies.
fn selector(owner: &Owner<'_>) -> BTreeMap<String, String> {
    BTreeMap::from([(owner.label.0.to_owned(), owner.label.1.to_owned())])
}

/// Without `replicas`: an autoscaler owns that field. What a container sees is as on Knative: `PORT`, no
/// variables of the namespace's other Services, a probe on its port.
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
                // Sent when none is asked for, too: Kubernetes keeps a copy of the name that no manager
                // owns, and would restore the last account from it.
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

/// Knative's default: the port accepts a connection. It is tried each second, so that a start from zero does
/// not wait for Kubernetes' ten; as many failures count as Kubernetes would need time for.
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

/// Maximum number of replicas: KEDA needs one.
fn max(valid: &ValidService) -> u32 {
    valid.max_scale.unwrap_or_else(|| DEFAULT_MAX.max(valid.min_scale))
}

/// The `Host` headers that lead to a service: its host, else names that cannot be registered outside the
/// cluster.
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

/// Never to zero: without a pod there is no cpu to measure.
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
