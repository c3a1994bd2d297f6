//! The children of a service that KEDA scales: Deployment, Service, and one of `HTTPScaledObject` and
//! `ScaledObject`. Pure.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::DeploymentSpec,
        core::v1::{PodSpec, PodTemplateSpec, ServicePort, ServiceSpec},
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
            HttpMetric, HttpScaledObjectSpec, HttpTarget, Replicas, ScaleTarget, ScaledObjectSpec, Trigger,
        },
    },
    render::{Child, ChildId, IgnoredField, Owner, ValidService, child::ChildBuilder, pod},
};

/// The port of the Service.
const SERVICE_PORT: u16 = 80;

/// The greatest number of replicas where the spec sets no bound and asks for fewer at least.
const DEFAULT_MAX: u32 = 10;

/// Seconds without a request before the last replica goes.
const SCALEDOWN_PERIOD: u32 = 300;

/// Everything but the secrets, in the order in which it is applied.
pub(super) fn children(owner: &Owner<'_>, valid: &ValidService) -> Vec<Child> {
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
    vec![deployment(owner, valid), service(owner, valid), autoscaler]
}

/// What the spec asks and KEDA cannot do.
pub(super) fn ignored(valid: &ValidService) -> Vec<IgnoredField> {
    let all = [
        (!valid.traffic.is_empty(), "traffic", "a Deployment has no revisions to spread requests over"),
        (
            valid.tls,
            "ingress.tls",
            "the HTTP add-on's interceptor serves plain HTTP; terminate TLS in front of it",
        ),
        (
            valid.visibility == Visibility::ClusterLocal,
            "ingress.visibility",
            "who can reach the HTTP add-on's interceptor is decided for all services at once",
        ),
        (
            valid.concurrency_limit.is_some(),
            "scaling.concurrencyLimit",
            "nothing in front of the pods holds requests back",
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

/// Without `replicas`: an autoscaler owns that field.
fn deployment(owner: &Owner<'_>, valid: &ValidService) -> Child {
    let annotations = Some(pod::annotations(owner, valid)).filter(|annotations| !annotations.is_empty());
    let spec = DeploymentSpec {
        selector: LabelSelector { match_labels: Some(selector(owner)), ..LabelSelector::default() },
        template: PodTemplateSpec {
            metadata: Some(ObjectMeta { labels: Some(owner.labels()), annotations, ..ObjectMeta::default() }),
            spec: Some(PodSpec {
                containers: vec![pod::container(&valid.name, valid)],
                service_account_name: valid.pod.service_account.clone(),
                ..PodSpec::default()
            }),
        },
        ..DeploymentSpec::default()
    };
    ChildBuilder::new(ChildId::new(ChildKind::Deployment, &valid.name), spec).build(owner)
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

/// The greatest number of replicas: KEDA needs one.
fn max(valid: &ValidService) -> u32 {
    valid.max_scale.unwrap_or_else(|| DEFAULT_MAX.max(valid.min_scale))
}

fn http_scaled_object(owner: &Owner<'_>, valid: &ValidService, scaling_metric: HttpMetric) -> Child {
    let name = &valid.name;
    let inside = || {
        vec![format!("{name}.{}", owner.namespace), format!("{name}.{}.svc.cluster.local", owner.namespace)]
    };
    let spec = HttpScaledObjectSpec {
        hosts: valid.host.clone().map_or_else(inside, |host| vec![host]),
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
        triggers: vec![Trigger {
            kind: "cpu",
            metric_type: "Utilization",
            metadata: BTreeMap::from([("value", valid.target.to_string())]),
        }],
    };
    let mut parts = ChildBuilder::new(ChildId::new(ChildKind::ScaledObject, name), spec);
    parts.depends_on = vec![ChildId::new(ChildKind::Deployment, name)];
    parts.build(owner)
}
