//! How to reach a service: its URL, its address in the cluster, and the message of `Ready`. Pure.

use crate::{
    api::{
        ElpioServiceStatus, Engine,
        condition::{kind, reason},
        network::Metric,
    },
    foreign::{ChildKind, fields},
    render::{
        ChildId, Defaults, Owner, ValidService,
        applied::{Applied, ChildFailure, LiveChildren},
        keda,
    },
    status::conditions::{ConditionStatus, NewCondition},
};

/// The URL for clients outside the cluster.
pub(super) fn url(
    name: &str,
    valid: &ValidService,
    (live, applied): (&LiveChildren, &Applied),
    parts: &[NewCondition],
) -> Option<String> {
    if !valid.public {
        return None;
    }
    // Another object may own the host.
    let routed = || {
        let conflicts = |(id, failure): (&ChildId, &ChildFailure)| {
            id.kind == ChildKind::HttpScaledObject && failure.reason == reason::NAME_CONFLICT
        };
        !applied.failures().any(conflicts)
    };
    let domain_ready =
        || parts.iter().any(|p| p.kind == kind::DOMAIN_READY && p.status == ConditionStatus::True);
    match (valid.engine, &valid.host) {
        (Engine::Keda, host) => host.as_ref().filter(|_| routed()).map(|host| format!("http://{host}")),
        (Engine::Knative, Some(host)) if domain_ready() => {
            string_at(live, &ChildId::new(ChildKind::DomainMapping, host), "/status/url")
        }
        (Engine::Knative, _) => {
            string_at(live, &ChildId::new(ChildKind::KnativeService, name), "/status/url")
        }
    }
}

/// The URL for clients inside the cluster.
pub(super) fn address(
    owner: &Owner<'_>,
    valid: &ValidService,
    live: &LiveChildren,
    defaults: &Defaults,
) -> Option<String> {
    let (name, namespace) = (owner.name, owner.namespace);
    let service = ChildId::new(ChildKind::Service, name);
    match (valid.engine, valid.metric) {
        (Engine::Knative, _) => {
            string_at(live, &ChildId::new(ChildKind::KnativeService, name), "/status/address/url")
        }
        (Engine::Keda, Metric::Cpu) => {
            live.contains_key(&service).then(|| format!("http://{name}.{namespace}.svc.cluster.local"))
        }
        (Engine::Keda, _) => live.contains_key(&service).then(|| defaults.keda_interceptor.clone()),
    }
}

/// The message of `Ready` when it is `True`: how to call the service.
pub(super) fn ready_message(owner: &Owner<'_>, valid: &ValidService, status: &ElpioServiceStatus) -> String {
    let through_interceptor = valid.engine == Engine::Keda && valid.metric != Metric::Cpu;
    let host = keda::hosts(owner.name, owner.namespace, valid.host.as_deref()).into_iter().next();
    let host = host.filter(|_| through_interceptor).map(|host| format!(" (send the header Host: {host})"));
    let outside = status.url.as_ref().map(|url| format!("available at {url}"));
    let inside = status
        .address
        .as_ref()
        .map(|address| format!("in the cluster: {address}{}", host.unwrap_or_default()));
    let ways: Vec<String> = outside.into_iter().chain(inside).collect();
    if ways.is_empty() { "available".to_owned() } else { ways.join("; ") }
}

fn string_at(live: &LiveChildren, id: &ChildId, pointer: &str) -> Option<String> {
    fields::non_empty_text(&live.get(id)?.data, pointer).map(str::to_owned)
}
