//! Statuses and Events as stories: each step hands the last status, what was achieved and what the children
//! say to the pure code; what comes out is compared with a golden file, line by line. `UPDATE_GOLDEN=1`
//! writes them anew.

mod keda;
mod rollout;

use std::fmt::Write as _;

use elpio_operator::{
    api::{ElpioServiceSpec, ElpioServiceStatus, RolloutStatus, condition::reason, label},
    foreign::ChildKind,
    render::{
        ChildId, Defaults, Desired, Owner,
        applied::{Applied, ChildFailure, ChildOutcome},
        render, validate,
    },
    status::{Observation, service},
};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::story::{EPOCH, Story, live};

const OWNER: Owner<'static> = Owner {
    api_version: "elpio.io/v1alpha1",
    kind: "ElpioService",
    namespace: "shop",
    name: "web",
    uid: "u",
    label: (label::SERVICE, "web"),
    build: None,
};

/// What applying a child came to, when it is not that it was written.
type Fate = (ChildKind, ChildOutcome);

impl Story<ElpioServiceStatus> {
    /// One reconcile, ten seconds after the last one.
    fn step(
        &mut self,
        what: &str,
        generation: i64,
        spec: &Value,
        children: &[Value],
        fates: &[Fate],
        retried: bool,
    ) -> &mut Self {
        self.second += 10;
        let input = self.input(generation, retried, SignedDuration::from_mins(10));
        let spec: ElpioServiceSpec = serde_json::from_value(spec.clone()).unwrap();
        let defaults = Defaults::default();
        let assessed = match validate("web", &spec, None, &defaults) {
            Err(faults) => service::compute(
                &OWNER,
                self.status.as_ref(),
                Observation::Invalid(&faults),
                &input,
                &defaults,
            ),
            Ok(valid) => {
                let desired = render(&OWNER, &valid, &defaults);
                let (applied, live) = (applied(&desired, fates), live(children));
                let seen =
                    Observation::Applied { valid: &valid, desired: &desired, applied: &applied, live: &live };
                service::compute(&OWNER, self.status.as_ref(), seen, &input, &defaults)
            }
        };
        self.record(what, &assessed.status);
        self.record_events(&assessed.events);
        let ended = |rollout: &Option<RolloutStatus>| rollout.as_ref().is_some_and(|r| r.ended_at.is_some());
        if ended(&assessed.status.rollout) && !ended(&self.rollout) {
            writeln!(
                self.transcript,
                "  rollout ended: {:?}",
                assessed.status.rollout.as_ref().unwrap().outcome.unwrap()
            )
            .unwrap();
        }
        self.keep(assessed.status);
        self
    }

    fn record(&mut self, what: &str, status: &ElpioServiceStatus) {
        writeln!(self.transcript, "{}s {what}", self.second).unwrap();
        for c in &status.conditions {
            let since = c.last_transition_time.0.as_second() - EPOCH;
            let of = c.observed_generation.unwrap();
            writeln!(
                self.transcript,
                "  {}={} {} (generation {of}, since {since}s): {}",
                c.type_, c.status, c.reason, c.message
            )
            .unwrap();
        }
        let word = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
        writeln!(
            self.transcript,
            "  ready={} url={} address={}",
            status.ready,
            word(&status.url),
            word(&status.address)
        )
        .unwrap();
        let children: Vec<String> = status
            .children
            .iter()
            .map(|c| {
                format!("{}/{} {}", c.kind, c.name, if c.ready { "ready".into() } else { word(&c.reason) })
            })
            .collect();
        writeln!(self.transcript, "  children: {}", children.join(", ")).unwrap();
    }
}

fn applied(desired: &Desired, fates: &[Fate]) -> Applied {
    let fate = |kind| {
        fates.iter().find(|(of, _)| *of == kind).map_or(ChildOutcome::Changed, |(_, outcome)| outcome.clone())
    };
    Applied {
        outcomes: desired.children.iter().map(|c| (c.id.clone(), fate(c.id.kind))).collect(),
        ..Applied::default()
    }
}

fn failed(reason: &'static str, class: &'static str, message: &str) -> ChildOutcome {
    ChildOutcome::Failed(ChildFailure { reason, class, message: message.into() })
}

fn child(api: &str, kind: &str, name: &str, generation: i64, status: &Value) -> Value {
    json!({"apiVersion": api, "kind": kind, "metadata": {"name": name, "generation": generation}, "status": status})
}

fn ksvc(generation: i64, seen: i64, ready: &str, why: &str, message: &str) -> Value {
    let condition = json!({"type": "Ready", "status": ready, "reason": why, "message": message});
    let status = json!({"observedGeneration": seen, "conditions": [condition], "url": "http://web.shop.example.com", "address": {"url": "http://web.shop.svc.cluster.local"}});
    child("serving.knative.dev/v1", "Service", "web", generation, &status)
}

fn conditioned(api: &str, kind: &str, name: &str, ready: &str, why: &str, message: &str) -> Value {
    let condition =
        json!({"type": "Ready", "status": ready, "reason": why, "message": message, "observedGeneration": 1});
    child(
        api,
        kind,
        name,
        1,
        &json!({"observedGeneration": 1, "conditions": [condition], "url": format!("https://{name}")}),
    )
}

fn image(tag: &str) -> Value {
    json!({"image": {"repository": "example.com/web", "tag": tag}})
}

fn with(mut base: Value, more: &Value) -> Value {
    base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    base
}
