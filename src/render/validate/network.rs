//! Validation of scaling, ingress and traffic. Pure.

use crate::{
    api::{
        ElpioServiceSpec, Engine,
        network::{Ingress, IssuerKind, Metric, Visibility},
        service::TrafficTarget,
    },
    foreign::{cert_manager::IssuerRef, knative},
    render::{Defaults, formats, validate::FieldErrors},
};

/// Validates scaling, and the resources that it requires.
pub(super) fn scaling(spec: &ElpioServiceSpec, engine: Engine, errors: &mut FieldErrors) {
    let scaling = &spec.scaling;
    errors.range("spec.scaling.minScale", scaling.min_scale, 0, i32::MAX);
    errors.range("spec.scaling.maxScale", scaling.max_scale, 0, i32::MAX);
    errors.check(
        scaling.max_scale == 0 || scaling.min_scale <= scaling.max_scale,
        "spec.scaling.minScale",
        || format!("{} is more than maxScale, {}", scaling.min_scale, scaling.max_scale),
    );
    errors.range("spec.scaling.target", scaling.target, 1, i32::MAX);
    if let Some(limit) = scaling.concurrency_limit {
        errors.range("spec.scaling.concurrencyLimit", limit, 1, 1000);
    }
    if scaling.metric != Metric::Cpu {
        return;
    }
    errors.check(scaling.target <= 100, "spec.scaling.target", || {
        format!("must be at most 100 (percent) with metric cpu, not {}", scaling.target)
    });
    let cpu = spec.resources.as_ref().is_some_and(|resources| {
        resources.requests.contains_key("cpu") || resources.limits.contains_key("cpu")
    });
    errors.check(engine != Engine::Keda || cpu, "spec.scaling.metric", || {
        "cpu on KEDA needs spec.resources.requests.cpu or spec.resources.limits.cpu".to_owned()
    });
}

pub(super) fn ingress(ingress: &Ingress, errors: &mut FieldErrors) {
    if let Some(host) = &ingress.host {
        host_rules(host, ingress, errors);
    }
    errors.check(!ingress.tls || ingress.host.is_some(), "spec.ingress.tls", || {
        "needs spec.ingress.host".to_owned()
    });
    if let Some(issuer) = &ingress.issuer {
        errors.object_name("spec.ingress.issuer.name", &*issuer.name);
    }
}

fn host_rules(host: &str, ingress: &Ingress, errors: &mut FieldErrors) {
    let path = "spec.ingress.host";
    errors.check(ingress.enabled, path, || "needs spec.ingress.enabled".to_owned());
    errors.check(ingress.visibility == Visibility::External, path, || {
        "needs spec.ingress.visibility external".to_owned()
    });
    let named = errors.check(formats::is_domain(host), path, || {
        format!("{host:?} must be a lower-case domain name of two labels or more, each of at most 63 characters, without wildcard or trailing dot")
    });
    if named {
        errors.check(!formats::is_address(host), path, || {
            format!("{host:?} must be a domain name, not an address")
        });
    }
    let inside = [".local", ".svc"].iter().any(|suffix| host.ends_with(suffix));
    errors.check(!inside, path, || format!("{host:?} must not be under cluster.local, .local or .svc"));
}

/// The issuer of the certificates.
pub(super) fn issuer(ingress: &Ingress, defaults: &Defaults) -> IssuerRef {
    match &ingress.issuer {
        Some(issuer) => IssuerRef { name: issuer.name.clone(), kind: issuer.kind.as_str() },
        None => IssuerRef { name: defaults.cluster_issuer.clone(), kind: IssuerKind::ClusterIssuer.as_str() },
    }
}

pub(super) fn traffic(
    targets: &[TrafficTarget],
    engine: Engine,
    errors: &mut FieldErrors,
) -> Vec<knative::TrafficTarget> {
    errors.check(engine != Engine::Keda || targets.is_empty(), "spec.traffic", || {
        "needs engine knative: a Deployment has no revisions to split requests over".to_owned()
    });
    errors.at_most("spec.traffic", targets.len(), 50);
    errors.unique("spec.traffic", "tag", targets.iter().map(|target| target.tag.as_deref()));
    let sum: i64 = targets.iter().map(|target| i64::from(target.percent)).sum();
    errors.check(targets.is_empty() || sum == 100, "spec.traffic", || {
        format!("the percents must sum to 100, not {sum}")
    });
    let valid = |(index, target): (usize, &TrafficTarget)| {
        let path = format!("spec.traffic[{index}]");
        let latest = target.latest_revision.unwrap_or_default();
        errors.check(target.revision_name.is_some() != latest, &path, || {
            "exactly one of revisionName and latestRevision: true must be set".to_owned()
        });
        errors.object_name(&format!("{path}.revisionName"), target.revision_name.as_deref());
        errors.range(&format!("{path}.percent"), target.percent, 0, 100);
        errors.dns_label(&format!("{path}.tag"), target.tag.as_deref(), 63);
        knative::TrafficTarget {
            revision_name: target.revision_name.clone(),
            latest_revision: latest.then_some(true),
            percent: target.percent.unsigned_abs(),
            tag: target.tag.clone(),
        }
    };
    targets.iter().enumerate().map(valid).collect()
}
