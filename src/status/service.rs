//! The status of an `ElpioService`, and the Events of its transitions. Pure.

use kube::core::DynamicObject;
use serde_json::Value;

use super::{
    Assessment, Moment, Seen,
    conditions::{Claim, Verdict, find, lay_over},
    readiness::{self, Readiness},
    rollout,
};
use crate::{
    api::{
        ChildStatus, ElpioServiceStatus, Engine,
        condition::{Condition, kind, reason},
        event::{Occurrence, Related, action, event_type},
        network::Metric,
    },
    foreign::ChildKind,
    render::{
        ChildId, Defaults, Desired, Fault, Owner, ValidService,
        applied::{Applied, Live},
    },
};

/// Assesses a service.
#[must_use]
pub fn assess(
    owner: &Owner<'_>,
    previous: Option<&ElpioServiceStatus>,
    seen: Seen<'_, ValidService>,
    moment: &Moment,
    defaults: &Defaults,
) -> Assessment<ElpioServiceStatus> {
    let (name, namespace) = (owner.name, owner.namespace);
    let mut status = previous.cloned().unwrap_or_default();
    let before = std::mem::take(&mut status.conditions);
    status.observed_generation = Some(moment.generation);
    let claims = match seen {
        Seen::Invalid(faults) => invalid(&before, faults),
        Seen::Applied { valid, desired, applied, live } => {
            status.engine = Some(valid.engine);
            status.children = children(desired, live);
            status.address = address(name, namespace, valid, live, defaults);
            let reconciled = reconciled(desired, applied, valid.engine);
            let parts = parts(name, valid, live);
            status.url = url(name, valid, live, &parts);
            let ready = ready(&reconciled, &parts, || serving(name, namespace, valid, &status));
            [ready, reconciled].into_iter().chain(parts).collect()
        }
    };
    status.conditions = lay_over(&before, claims, moment.generation, moment.now);
    status.ready = find(&status.conditions, kind::READY).is_some_and(|c| c.status == "True");
    let advanced = rollout::advance(&moment.rollout, status.ready, moment.now, moment.deadline);
    let ended = advanced.ended_at.is_some() && moment.rollout.ended_at.is_none();
    status.rollout = Some(advanced);
    let occurrences = Transitions { before: &before, status: &status, moment, seen }.all(previous);
    Assessment { status, occurrences, ended }
}

/// The parts keep what was last said of them: the children of the last valid generation still run.
fn invalid(before: &[Condition], faults: &[Fault]) -> Vec<Claim> {
    let listed = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let own = [kind::READY, kind::RECONCILED].map(|kind| Claim::new(kind, Verdict::False, reason::INVALID_SPEC, &listed));
    let kept = [kind::ENGINE_READY, kind::DOMAIN_READY, kind::SECRETS_READY].into_iter().filter_map(|kind| {
        let condition = find(before, kind)?;
        let verdict = [Verdict::True, Verdict::False].into_iter().find(|v| v.as_str() == condition.status).unwrap_or(Verdict::Unknown);
        Some(Claim::new(kind, verdict, &condition.reason, &condition.message))
    });
    own.into_iter().chain(kept).collect()
}

fn reconciled(desired: &Desired, applied: &Applied, engine: Engine) -> Claim {
    let failures: Vec<String> = applied.failures().map(|(_, f)| f.message.clone()).collect();
    let first = applied.failures().find(|(_, f)| f.reason != reason::DEPENDENCY_MISSING).or_else(|| applied.failures().next());
    if let Some((_, failure)) = first {
        return Claim::new(kind::RECONCILED, Verdict::False, failure.reason, failures.join("; "));
    }
    let holders: Vec<&str> = applied.holders().collect();
    if !holders.is_empty() {
        return Claim::new(kind::RECONCILED, Verdict::False, reason::PRUNING, format!("waiting for {} to be gone", holders.join(", ")));
    }
    let count = desired.children.len();
    Claim::new(
        kind::RECONCILED,
        Verdict::True,
        reason::RECONCILED,
        format!("engine {}, {count} object{}", engine.as_str(), if count == 1 { "" } else { "s" }),
    )
}

/// `EngineReady`, and `DomainReady` and `SecretsReady` where they are asked for.
fn parts(name: &str, valid: &ValidService, live: &Live) -> Vec<Claim> {
    let engine: &[ChildKind] = match (valid.engine, valid.metric) {
        (Engine::Knative, _) => &[ChildKind::KnativeService],
        (Engine::Keda, Metric::Cpu) => &[ChildKind::ScaledObject, ChildKind::Deployment, ChildKind::Service],
        (Engine::Keda, Metric::Concurrency | Metric::Rps) => &[ChildKind::HttpScaledObject, ChildKind::Deployment, ChildKind::Service],
    };
    let engine: Vec<ChildId> = engine.iter().map(|kind| ChildId::new(*kind, name)).collect();
    let mut parts = vec![part(kind::ENGINE_READY, &engine, live)];
    if let (Some(host), Engine::Knative) = (&valid.host, valid.engine) {
        let certificate = valid.tls.then(|| ChildId::new(ChildKind::Certificate, host));
        let ids: Vec<ChildId> = certificate.into_iter().chain([ChildId::new(ChildKind::DomainMapping, host)]).collect();
        parts.push(part(kind::DOMAIN_READY, &ids, live));
    }
    if !valid.external_secrets.is_empty() {
        let ids: Vec<ChildId> = valid.external_secrets.iter().map(|name| ChildId::new(ChildKind::ExternalSecret, name)).collect();
        parts.push(part(kind::SECRETS_READY, &ids, live));
    }
    parts
}

/// One part: the first child that failed speaks for it, else the first that is not done.
fn part(kind: &'static str, ids: &[ChildId], live: &Live) -> Claim {
    let mut said = Vec::new();
    for id in ids {
        let readiness = live.get(id).map_or_else(absent, |child| readiness::of(id.kind, child));
        let about = |message: &str| {
            if message.is_empty() {
                format!("{} {}", id.kind.display(), id.name)
            } else {
                format!("{} {}: {message}", id.kind.display(), id.name)
            }
        };
        match readiness {
            Readiness::Ready => {}
            Readiness::Failed { reason, message } => said.insert(0, (0, reason, about(&message))),
            Readiness::Waiting { reason, message } => said.push((1, reason, about(&message))),
        }
    }
    said.sort_by_key(|(rank, ..)| *rank);
    match said.into_iter().next() {
        None => Claim::new(kind, Verdict::True, reason::READY, ""),
        // What has not come to an end is ours to name: an engine's word for it differs with every engine.
        Some((1, why, message)) if why == reason::PROGRESSING => Claim::new(kind, Verdict::False, reason::PROGRESSING, message),
        Some((1, why, message)) => Claim::new(kind, Verdict::False, reason::PROGRESSING, format!("{message} ({why})")),
        Some((_, why, message)) => Claim::new(kind, Verdict::False, why, message),
    }
}

fn absent() -> Readiness {
    Readiness::Waiting { reason: reason::PROGRESSING.to_owned(), message: "is not there yet".to_owned() }
}

fn ready(reconciled: &Claim, parts: &[Claim], serving: impl FnOnce() -> String) -> Claim {
    if reconciled.verdict != Verdict::True {
        return Claim { kind: kind::READY, ..reconciled.clone() };
    }
    let open = parts.iter().filter(|part| part.verdict != Verdict::True);
    match open.min_by_key(|part| part.reason == reason::PROGRESSING) {
        None => Claim::new(kind::READY, Verdict::True, reason::RECONCILED, serving()),
        Some(part) => Claim { kind: kind::READY, ..part.clone() },
    }
}

fn children(desired: &Desired, live: &Live) -> Vec<ChildStatus> {
    let child = |id: &ChildId, version: &Value| {
        let (ready, reason) = match live.get(id).map_or_else(absent, |child| readiness::of(id.kind, child)) {
            Readiness::Ready => (true, None),
            Readiness::Waiting { reason, .. } | Readiness::Failed { reason, .. } => (false, Some(reason).filter(|r| !r.is_empty())),
        };
        let api_version = version.as_str().unwrap_or_default().to_owned();
        ChildStatus { api_version, kind: id.kind.kind().to_owned(), name: id.name.clone(), ready, reason }
    };
    desired.children.iter().map(|c| child(&c.id, &c.body["apiVersion"])).collect()
}

fn said(live: &Live, id: &ChildId, pointer: &str) -> Option<String> {
    live.get(id)?.data.pointer(pointer)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// What a client outside calls.
fn url(name: &str, valid: &ValidService, live: &Live, parts: &[Claim]) -> Option<String> {
    if !valid.public {
        return None;
    }
    match (valid.engine, &valid.host) {
        (Engine::Keda, host) => host.as_ref().map(|host| format!("http://{host}")),
        (Engine::Knative, Some(host)) if parts.iter().any(|p| p.kind == kind::DOMAIN_READY && p.verdict == Verdict::True) => {
            said(live, &ChildId::new(ChildKind::DomainMapping, host), "/status/url")
        }
        (Engine::Knative, _) => said(live, &ChildId::new(ChildKind::KnativeService, name), "/status/url"),
    }
}

/// What a client inside calls.
fn address(name: &str, namespace: &str, valid: &ValidService, live: &Live, defaults: &Defaults) -> Option<String> {
    let service = ChildId::new(ChildKind::Service, name);
    match (valid.engine, valid.metric) {
        (Engine::Knative, _) => said(live, &ChildId::new(ChildKind::KnativeService, name), "/status/address/url"),
        (Engine::Keda, Metric::Cpu) => live.contains_key(&service).then(|| format!("http://{name}.{namespace}.svc.cluster.local")),
        (Engine::Keda, _) => live.contains_key(&service).then(|| defaults.keda_interceptor.clone()),
    }
}

/// The message of `Ready` when it is so: how to call it.
fn serving(name: &str, namespace: &str, valid: &ValidService, status: &ElpioServiceStatus) -> String {
    let mut ways = Vec::new();
    ways.extend(status.url.as_ref().map(|url| format!("serves at {url}")));
    ways.extend(status.address.as_ref().map(|address| match (valid.engine, valid.metric) {
        (Engine::Keda, Metric::Concurrency | Metric::Rps) => {
            let host = valid.host.clone().unwrap_or_else(|| format!("{name}.{namespace}"));
            format!("inside the cluster call {address} with Host: {host}")
        }
        _ => format!("inside the cluster call {address}"),
    }));
    if ways.is_empty() { "serves".to_owned() } else { ways.join("; ") }
}

/// What became different between two statuses.
struct Transitions<'a> {
    before: &'a [Condition],
    status: &'a ElpioServiceStatus,
    moment: &'a Moment,
    seen: Seen<'a, ValidService>,
}

impl Transitions<'_> {
    fn all(&self, previous: Option<&ElpioServiceStatus>) -> Vec<Occurrence> {
        let first_look = previous.and_then(|p| p.observed_generation) != Some(self.moment.generation);
        [self.reconciled(), first_look.then(|| self.ignored()).flatten(), self.failed(), self.readiness()].into_iter().flatten().collect()
    }

    /// What the condition said before, of this generation.
    fn then(&self, kind: &str) -> Option<&Condition> {
        find(self.before, kind).filter(|c| c.observed_generation == Some(self.moment.generation))
    }

    fn now(&self, kind: &str) -> Option<&Condition> {
        find(&self.status.conditions, kind)
    }

    fn reconciled(&self) -> Option<Occurrence> {
        let now = self.now(kind::RECONCILED).filter(|c| c.status == "True")?;
        let news = self.then(kind::RECONCILED).is_none_or(|c| c.status != "True");
        news.then(|| occurrence(event_type::NORMAL, reason::RECONCILED, action::APPLY, now.message.clone()))
    }

    fn ignored(&self) -> Option<Occurrence> {
        let Seen::Applied { desired, valid, .. } = self.seen else { return None };
        let fields: Vec<String> = desired.ignored.iter().map(|i| format!("{}: {}", i.field, i.why)).collect();
        let note = format!("engine {} cannot do what these fields ask: {}", valid.engine.as_str(), fields.join("; "));
        (!fields.is_empty()).then(|| occurrence(event_type::WARNING, reason::FIELD_IGNORED, action::APPLY, note))
    }

    fn failed(&self) -> Option<Occurrence> {
        let now = self.now(kind::RECONCILED).filter(|c| c.status == "False" && c.reason != reason::PRUNING)?;
        let news = self.then(kind::RECONCILED).is_none_or(|c| c.status != now.status || c.reason != now.reason);
        let (class, related) = match self.seen {
            Seen::Invalid(_) => ("invalid_spec", None),
            Seen::Applied { applied, desired, .. } => {
                let failure = applied.failures().find(|(_, f)| f.reason == now.reason);
                (failure.map_or("internal", |(_, f)| f.class), failure.and_then(|(id, _)| related(id, desired)))
            }
        };
        let note = format!("{class}: {}", now.message);
        (news || self.moment.retried)
            .then(|| Occurrence { related, ..occurrence(event_type::WARNING, reason::RECONCILE_FAILED, action::APPLY, note) })
    }

    fn readiness(&self) -> Option<Occurrence> {
        let Seen::Applied { valid, desired, applied, live } = self.seen else { return None };
        let now = self.now(kind::READY)?;
        let was_ready = find(self.before, kind::READY).is_some_and(|c| c.status == "True");
        if now.status == "True" {
            return (!was_ready).then(|| occurrence(event_type::NORMAL, reason::READY, action::OBSERVE, self.ready_note(valid)));
        }
        if !applied.complete() {
            return None;
        }
        let then = self.then(kind::READY).filter(|_| self.then(kind::RECONCILED).is_some_and(|c| c.status == "True"));
        let failing = now.reason != reason::PROGRESSING;
        let type_ = match then {
            None if failing => event_type::WARNING,
            None => event_type::NORMAL,
            Some(then) if then.status == "True" => event_type::WARNING,
            // The engine came to a verdict, or to another one.
            Some(then) if failing && then.reason != now.reason => event_type::WARNING,
            Some(_) => return None,
        };
        let related = unready(desired, live).and_then(|id| related(id, desired));
        let note = if failing { format!("{}: {}", now.reason, now.message) } else { format!("waiting for {}", now.message) };
        Some(Occurrence { related, ..occurrence(type_, reason::PROGRESSING, action::OBSERVE, note) })
    }

    fn ready_note(&self, valid: &ValidService) -> String {
        let place = self.status.url.as_ref().map(|url| format!(" at {url}")).unwrap_or_default();
        let start = self.moment.rollout.started_at.as_ref().map(|at| self.moment.now.duration_since(at.0));
        let took = start.map(|took| format!(", {:.1} s after the edit was seen", took.as_secs_f64())).unwrap_or_default();
        format!("engine {} serves{place}{took}", valid.engine.as_str())
    }
}

fn occurrence(type_: &'static str, reason: &'static str, action: &'static str, note: String) -> Occurrence {
    Occurrence { type_, reason, action, note, related: None }
}

fn related(id: &ChildId, desired: &Desired) -> Option<Related> {
    let child = desired.children.iter().find(|c| c.id == *id)?;
    let api_version = child.body["apiVersion"].as_str()?.to_owned();
    Some(Related { api_version, kind: id.kind.kind().to_owned(), name: id.name.clone() })
}

/// The child that speaks for what is not ready: one that failed, else one that is not done.
fn unready<'a>(desired: &'a Desired, live: &Live) -> Option<&'a ChildId> {
    let rank = |child: Option<&std::sync::Arc<DynamicObject>>, kind| match child.map_or_else(absent, |c| readiness::of(kind, c)) {
        Readiness::Ready => None,
        Readiness::Failed { .. } => Some(0),
        Readiness::Waiting { .. } => Some(1),
    };
    let open = desired.children.iter().filter_map(|c| rank(live.get(&c.id), c.id.kind).map(|rank| (rank, &c.id)));
    open.min_by_key(|(rank, _)| *rank).map(|(_, id)| id)
}
