//! The children of a service on Knative: Certificate, Service, `DomainMapping`. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Capabilities, Container};

use crate::{
    api::{network::Metric, policy::PodSecurity},
    foreign::{
        ChildKind,
        cert_manager::CertificateSpec,
        knative::{
            DomainMappingSpec, RevisionSpec, RevisionTemplate, SecretTls, ServiceSpec, TargetRef,
            TemplateMeta, TrafficTarget, name,
        },
    },
    render::{Child, ChildId, Defaults, Owner, ValidService, child::ChildBuilder, formats::tls_secret, pod},
};

/// The children on Knative, as fields, so that `children` or `in_order` cannot omit one and still compile.
struct KnativeChildren {
    certificate: Option<Child>,
    service: Child,
    domain_mapping: Option<Child>,
}

impl KnativeChildren {
    fn in_order(self) -> Vec<Child> {
        let Self { certificate, service, domain_mapping } = self;
        certificate.into_iter().chain([service]).chain(domain_mapping).collect()
    }
}

/// All children except the secrets, in apply order.
pub(super) fn children(owner: &Owner<'_>, valid: &ValidService, defaults: &Defaults) -> Vec<Child> {
    let tls_host = valid.host.as_ref().filter(|_| valid.tls);
    KnativeChildren {
        certificate: tls_host.map(|host| certificate(owner, valid, host)),
        service: service(owner, valid, defaults),
        domain_mapping: valid.host.as_ref().map(|host| domain_mapping(owner, valid, host)),
    }
    .in_order()
}

fn certificate(owner: &Owner<'_>, valid: &ValidService, host: &str) -> Child {
    let spec = CertificateSpec {
        secret_name: tls_secret(&valid.name),
        dns_names: vec![host.to_owned()],
        issuer_ref: valid.issuer.clone(),
    };
    ChildBuilder::new(ChildId::new(ChildKind::Certificate, host), spec).build(owner)
}

/// Always sets `traffic`: otherwise another tool's pinned revision would stay, and a new generation would
/// become ready without receiving requests.
fn service(owner: &Owner<'_>, valid: &ValidService, defaults: &Defaults) -> Child {
    let template = RevisionTemplate {
        metadata: TemplateMeta { labels: owner.labels(), annotations: template_annotations(owner, valid) },
        spec: RevisionSpec {
            containers: vec![container(valid, defaults.pod_security)],
            service_account_name: valid.pod.service_account.clone(),
            image_pull_secrets: pod::image_pull_secrets(valid),
            container_concurrency: valid.concurrency_limit,
        },
    };
    let traffic = match valid.traffic.as_slice() {
        [] => vec![TrafficTarget::all_to_latest()],
        targets => targets.to_vec(),
    };
    let mut parts = ChildBuilder::new(
        ChildId::new(ChildKind::KnativeService, &valid.name),
        ServiceSpec { template, traffic },
    );
    if !valid.public {
        parts.labels.insert(name::VISIBILITY.to_owned(), name::CLUSTER_LOCAL.to_owned());
    }
    parts.build(owner)
}

/// Knative rejects a container that adds a capability, unless its administrator allows it. Without any, the
/// container keeps the runtime's, with which root may bind a low port.
fn container(valid: &ValidService, security: PodSecurity) -> Container {
    let mut container = pod::container(name::CONTAINER, valid, security);
    if let Some(context) = &mut container.security_context {
        let capabilities = context.capabilities.take().map(|all| (all.add.is_some(), all.drop));
        let kept = capabilities.filter(|(adds, _)| !adds || security == PodSecurity::Enabled);
        context.capabilities = kept.map(|(_, drop)| Capabilities { drop, add: None });
    }
    container
}

fn template_annotations(owner: &Owner<'_>, valid: &ValidService) -> BTreeMap<String, String> {
    let class = if valid.metric == Metric::Cpu { name::HPA } else { name::KPA };
    let scaling = [
        (name::CLASS, Some(class.to_owned())),
        (name::METRIC, Some(valid.metric.as_str().to_owned())),
        (name::TARGET, Some(valid.target.to_string())),
        (name::MIN_SCALE, Some(valid.min_scale.to_string())),
        (name::MAX_SCALE, valid.max_scale.map(|max| max.to_string())),
    ];
    let scaling = scaling.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    pod::annotations(owner, valid).into_iter().chain(scaling).collect()
}

fn domain_mapping(owner: &Owner<'_>, valid: &ValidService, host: &str) -> Child {
    let target = TargetRef {
        api_version: ChildKind::KnativeService.api_version(),
        kind: ChildKind::KnativeService.kind().to_owned(),
        name: valid.name.clone(),
    };
    let tls = valid.tls.then(|| SecretTls { secret_name: tls_secret(&valid.name) });
    let mut parts =
        ChildBuilder::new(ChildId::new(ChildKind::DomainMapping, host), DomainMappingSpec { target, tls });
    if valid.tls {
        parts.depends_on.push(ChildId::new(ChildKind::Certificate, host));
    }
    parts.depends_on.push(ChildId::new(ChildKind::KnativeService, &valid.name));
    parts.build(owner)
}
