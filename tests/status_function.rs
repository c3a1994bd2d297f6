//! The status and the Events of a function as one story, compared with a golden file. `UPDATE_GOLDEN=1`
//! writes it anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fmt::Write as _, path::Path, sync::Arc};

use elpio_operator::{
    api::{ElpioFunctionSpec, ElpioFunctionStatus, RolloutStatus, label},
    controller::kinds::{Kind, function::Function},
    foreign::ChildKind,
    render::{
        ChildId, Defaults, Owner, WriteMode,
        applied::{Applied, ChildOutcome, LiveChildren},
        validate_function,
    },
    status::{Observation, StatusInput, function},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::{Value, json};

const OWNER: Owner<'static> = Owner {
    api_version: "elpio.io/v1alpha1",
    kind: "ElpioFunction",
    namespace: "shop",
    name: "cart",
    uid: "u",
    label: (label::FUNCTION, "cart"),
    build: None,
};
const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const EPOCH: i64 = 1_800_000_000;

#[derive(Default)]
struct Story {
    status: Option<ElpioFunctionStatus>,
    rollout: Option<RolloutStatus>,
    second: i64,
    told: String,
}

fn spec(revision: &str) -> ElpioFunctionSpec {
    let git = json!({"url": "https://git.example/cart.git", "revision": revision});
    serde_json::from_value(json!({"source": {"git": git}, "runtime": "go", "image": "registry.example/cart"}))
        .unwrap()
}

fn at(second: i64) -> String {
    Timestamp::from_second(EPOCH + second).unwrap().to_string()
}

/// A run of a revision as Tekton has it: made and ended at these seconds.
fn run(revision: &str, made: i64, succeeded: &str, reason: &str) -> Value {
    let name = validate_function("cart", &spec(revision), None, &Defaults::default()).unwrap().run_name();
    json!({"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "metadata": {"name": name, "uid": name, "creationTimestamp": at(made)}, "spec": {}, "status": {
        "startTime": at(made), "completionTime": at(made + 7), "conditions": [{"type": "Succeeded", "status": succeeded, "reason": reason, "message": "m"}],
        "results": [{"name": "IMAGE_DIGEST", "value": DIGEST}]}})
}

fn service(build: &Value, ready: &str, reason: &str) -> Value {
    let condition =
        json!({"type": "Ready", "status": ready, "reason": reason, "message": "said by the service"});
    json!({"apiVersion": "elpio.io/v1alpha1", "kind": "ElpioService", "metadata": {"name": "cart", "generation": 1, "annotations": {"elpio.io/build": build["metadata"]["name"]}},
        "spec": {"image": {"repository": "registry.example/cart", "digest": DIGEST}},
        "status": {"observedGeneration": 1, "engine": "knative", "url": "http://cart.shop.example.com", "conditions": [condition]}})
}

fn live(children: &[Value]) -> LiveChildren {
    let entry = |child: &Value| {
        let kind =
            ChildKind::ALL.into_iter().find(|kind| kind.kind() == child["kind"].as_str().unwrap()).unwrap();
        (
            ChildId::new(kind, child["metadata"]["name"].as_str().unwrap()),
            Arc::new(serde_json::from_value(child.clone()).unwrap()),
        )
    };
    children.iter().map(entry).collect()
}

impl Story {
    /// One reconcile at `second`; `before` are the children when it began, `after` when it had applied.
    fn step(
        &mut self,
        what: &str,
        second: i64,
        generation: i64,
        revision: &str,
        before: &[Value],
        after: &[Value],
    ) -> &mut Self {
        self.second = second;
        let now = Timestamp::from_second(EPOCH + second).unwrap();
        let began = self.rollout.as_ref().is_none_or(|rollout| rollout.generation != generation);
        if began {
            self.rollout = Some(RolloutStatus {
                generation,
                started_at: Some(MicroTime(now)),
                ..RolloutStatus::default()
            });
        }
        let first_look =
            self.status.as_ref().and_then(|status| status.observed_generation) != Some(generation);
        let deadline = SignedDuration::from_hours(1);
        let moment = StatusInput {
            generation,
            now,
            is_retry: false,
            rollout_started: began,
            first_observation: first_look,
            rollout: self.rollout.clone().unwrap(),
            deadline,
            contended: false,
            republish_since: None,
        };
        let defaults = Defaults::default();
        let valid = validate_function("cart", &spec(revision), None, &defaults).unwrap();
        let desired = elpio_operator::render::function::plan(&OWNER, &valid, &live(before), None, &defaults);
        let step = |mode: &WriteMode| {
            if *mode == WriteMode::Retain { ChildOutcome::Unchanged } else { ChildOutcome::Changed }
        };
        let applied = Applied {
            outcomes: desired.children.iter().map(|c| (c.id.clone(), step(&c.mode))).collect(),
            ..Applied::default()
        };
        let (now_live, details) = (live(after), LiveChildren::new());
        let seen =
            Observation::Applied { valid: &valid, desired: &desired, applied: &applied, live: &now_live };
        let assessed = function::compute(&OWNER, self.status.as_ref(), seen, &details, &moment);
        self.tell(what, &assessed.status);
        for event in &assessed.events {
            let about =
                event.related.as_ref().map(|r| format!(" [{} {}]", r.kind, r.name)).unwrap_or_default();
            writeln!(
                self.told,
                "  Event {} {} {}{about}: {}",
                event.type_, event.reason, event.action, event.note
            )
            .unwrap();
        }
        if let Some(run) = Function::finished_build(self.status.as_ref(), &assessed.status) {
            writeln!(self.told, "  build ended: {run}").unwrap();
        }
        self.rollout.clone_from(&assessed.status.rollout);
        self.status = Some(assessed.status);
        self
    }

    fn tell(&mut self, what: &str, status: &ElpioFunctionStatus) {
        writeln!(self.told, "{}s {what}: {}", self.second, status.phase.unwrap().as_str()).unwrap();
        for c in &status.conditions {
            writeln!(self.told, "  {}={} {}: {}", c.type_, c.status, c.reason, c.message).unwrap();
        }
        writeln!(
            self.told,
            "  image={} url={}",
            status.image.as_deref().unwrap_or("-"),
            status.url.as_deref().unwrap_or("-")
        )
        .unwrap();
    }
}

#[test]
fn from_source_to_served_and_through_a_failed_rebuild() {
    let mut story = Story::default();
    let (running, built) = (run("v1", 0, "Unknown", "Running"), run("v1", 0, "True", "Succeeded"));
    let (waits, serves) = (service(&built, "False", "Progressing"), service(&built, "True", "Reconciled"));
    let failed = run("bad", 60, "False", "Failed");
    let all = [built.clone(), serves.clone()];
    story
        .step("created", 0, 1, "v1", &[], std::slice::from_ref(&running))
        .step("a resync", 2, 1, "v1", std::slice::from_ref(&running), std::slice::from_ref(&running))
        .step(
            "the build succeeded, the service is published",
            8,
            1,
            "v1",
            std::slice::from_ref(&built),
            &[built.clone(), waits],
        )
        .step("the service is ready", 10, 1, "v1", &all, &all)
        .step(
            "a revision that does not build",
            60,
            2,
            "bad",
            &all,
            &[built.clone(), serves.clone(), run("bad", 60, "Unknown", "Running")],
        )
        .step(
            "it failed",
            70,
            2,
            "bad",
            &[built.clone(), serves.clone(), failed.clone()],
            &[built.clone(), serves.clone(), failed.clone()],
        )
        .step(
            "back to what was built before",
            90,
            3,
            "v1",
            &[built.clone(), serves.clone(), failed.clone()],
            &[built.clone(), serves.clone(), failed],
        )
        .step(
            "the service falls",
            100,
            3,
            "v1",
            &all,
            &[built.clone(), service(&built, "False", "RevisionFailed")],
        );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/status/function.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &story.told).unwrap();
    }
    assert_eq!(
        story.told,
        std::fs::read_to_string(&path).unwrap_or_default(),
        "{}; UPDATE_GOLDEN=1 writes it anew",
        path.display()
    );
}
