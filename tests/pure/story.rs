//! An object through time: each step hands the last status and what was achieved to the pure code, and notes what
//! comes out. A golden file has the whole.

use std::{fmt::Write as _, sync::Arc};

use elpio_operator::{
    api::{RolloutStatus, StatusParts, event::NewEvent},
    foreign::ChildKind,
    render::{ChildId, applied::LiveChildren},
    status::StatusInput,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::Value;

use crate::golden;

/// When a story begins, in seconds since 1970.
pub const EPOCH: i64 = 1_800_000_000;

/// One object with a status `S`.
pub struct Story<S> {
    pub status: Option<S>,
    pub rollout: Option<RolloutStatus>,
    pub second: i64,
    pub transcript: String,
}

impl<S> Default for Story<S> {
    fn default() -> Self {
        Self { status: None, rollout: None, second: 0, transcript: String::new() }
    }
}

impl<S: StatusParts> Story<S> {
    /// The facts of a reconcile at this second; a new generation begins a rollout.
    pub fn input(&mut self, generation: i64, is_retry: bool, rollout_timeout: SignedDuration) -> StatusInput {
        let now = Timestamp::from_second(EPOCH + self.second).unwrap();
        let rollout_started = self.rollout.as_ref().is_none_or(|rollout| rollout.generation != generation);
        if rollout_started {
            let started_at = Some(MicroTime(now));
            self.rollout = Some(RolloutStatus { generation, started_at, ..RolloutStatus::default() });
        }
        let observed = self.status.as_ref().and_then(S::observed_generation);
        StatusInput {
            generation,
            now,
            is_retry,
            rollout_started,
            first_observation: observed != Some(generation),
            rollout: self.rollout.clone().unwrap(),
            rollout_timeout,
            contended: false,
            republish_since: None,
        }
    }

    pub fn record_events(&mut self, events: &[NewEvent]) {
        for event in events {
            let about =
                event.related.as_ref().map(|r| format!(" [{} {}]", r.kind, r.name)).unwrap_or_default();
            let NewEvent { type_, reason, action, note, cause, .. } = event;
            let cause = if cause.is_empty() { String::new() } else { format!(" ({cause})") };
            writeln!(self.transcript, "  Event {type_} {reason} {action}{about}{cause}: {note}").unwrap();
        }
    }

    /// What the next step begins with.
    pub fn keep(&mut self, status: S) {
        self.rollout = status.rollout().cloned();
        self.status = Some(status);
    }

    pub fn compare(&self, name: &str) {
        golden::compare_text(&golden::folder("status").join(format!("{name}.txt")), &self.transcript);
    }
}

/// Children as the watches hold them.
pub fn live(children: &[Value]) -> LiveChildren {
    let entry = |child: &Value| {
        let (api, kind) = (child["apiVersion"].as_str().unwrap(), child["kind"].as_str().unwrap());
        let kind = ChildKind::ALL.into_iter().find(|k| k.kind() == kind && k.api_version() == api).unwrap();
        (
            ChildId::new(kind, child["metadata"]["name"].as_str().unwrap()),
            Arc::new(serde_json::from_value(child.clone()).unwrap()),
        )
    };
    children.iter().map(entry).collect()
}
