//! The status and the Events of a function as one story, compared with a golden file. `UPDATE_GOLDEN=1`
//! writes it anew.

use std::fmt::Write as _;

use elpio_operator::{
    api::{ElpioFunctionSpec, ElpioFunctionStatus, Engine, label},
    controller::kinds::{Kind, function::Function},
    render::{
        Defaults, Owner, WriteMode,
        applied::{Applied, ChildOutcome, LiveChildren},
        function::plan,
        validate_function,
    },
    status::{Observation, function},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::story::{EPOCH, Story, live};

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
fn spec(revision: &str) -> ElpioFunctionSpec {
    let git = json!({"url": "https://git.example/cart.git", "revision": revision});
    serde_json::from_value(json!({"source": {"git": git}, "runtime": "go", "image": "registry.example/cart"}))
        .unwrap()
}

fn at(second: i64) -> String {
    Timestamp::from_second(EPOCH + second).unwrap().to_string()
}

/// The run of the `number`th build as Tekton has it: created at this second, ended 7 s later.
fn run(revision: &str, number: i64, made: i64, succeeded: &str, reason: &str) -> Value {
    let valid = validate_function("cart", &spec(revision), None, &Defaults::default()).unwrap();
    let name = valid.run_name(number, None);
    let labels = json!({"app.kubernetes.io/managed-by": "elpio", "elpio.io/function": "cart"});
    let annotations =
        json!({"elpio.io/build-inputs": valid.inputs.hash(), "elpio.io/build-number": number.to_string()});
    json!({"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "metadata": {"name": name, "uid": name, "creationTimestamp": at(made), "labels": labels, "annotations": annotations}, "spec": {}, "status": {
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

impl Story<ElpioFunctionStatus> {
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
        let input = self.input(generation, false, SignedDuration::from_hours(1));
        let now = input.now;
        let defaults = Defaults::default();
        let valid = validate_function("cart", &spec(revision), None, &defaults).unwrap();
        let desired = plan(&OWNER, &valid, self.status.as_ref(), &live(before), None, &defaults, now);
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
        let assessed = function::compute(&OWNER, self.status.as_ref(), seen, &details, &input);
        self.record(what, &assessed.status);
        self.record_events(&assessed.events);
        if let Some(run) = Function::finished_build(self.status.as_ref(), &assessed.status) {
            writeln!(self.transcript, "  build ended: {run}").unwrap();
        }
        self.keep(assessed.status);
        self
    }

    fn record(&mut self, what: &str, status: &ElpioFunctionStatus) {
        writeln!(self.transcript, "{}s {what}: {:?}", self.second, status.phase.unwrap()).unwrap();
        for c in &status.conditions {
            writeln!(self.transcript, "  {}={} {}: {}", c.type_, c.status, c.reason, c.message).unwrap();
        }
        writeln!(
            self.transcript,
            "  image={} engine={} url={}",
            status.image.as_deref().unwrap_or("-"),
            status.engine.map_or("-", Engine::as_str),
            status.url.as_deref().unwrap_or("-")
        )
        .unwrap();
    }
}

impl Story<ElpioFunctionStatus> {
    /// A reconcile that finds and leaves these children.
    fn stays(
        &mut self,
        what: &str,
        second: i64,
        generation: i64,
        revision: &str,
        all: &[Value],
    ) -> &mut Self {
        self.step(what, second, generation, revision, all, all)
    }
}

#[test]
fn from_source_to_served_and_through_a_failed_rebuild() {
    let mut story = Story::<ElpioFunctionStatus>::default();
    let (running, built) = (run("v1", 1, 0, "Unknown", "Running"), run("v1", 1, 0, "True", "Succeeded"));
    let (waits, serves) = (service(&built, "False", "Progressing"), service(&built, "True", "Reconciled"));
    let (begun, failed) = (run("bad", 2, 60, "Unknown", "Running"), run("bad", 2, 60, "False", "Failed"));
    let (again, last) = (run("v1", 3, 90, "Unknown", "Running"), run("v1", 3, 90, "True", "Succeeded"));
    let (all, with_failed) = ([built.clone(), serves.clone()], [built.clone(), serves.clone(), failed]);
    let without_run = [built.clone(), serves.clone()];
    story
        .step("created", 0, 1, "v1", &[], std::slice::from_ref(&running))
        .stays("a resync", 2, 1, "v1", std::slice::from_ref(&running))
        .step(
            "the build succeeded, the service is published",
            8,
            1,
            "v1",
            std::slice::from_ref(&built),
            &[built.clone(), waits],
        )
        .stays("the service is ready", 10, 1, "v1", &all)
        .stays("its run was pruned", 20, 1, "v1", std::slice::from_ref(&serves))
        .step("a revision that does not build", 60, 2, "bad", &all, &[built.clone(), serves.clone(), begun])
        .stays("it failed", 70, 2, "bad", &with_failed)
        .stays("its run was deleted", 80, 2, "bad", &without_run)
        .step("back to what was built before", 90, 3, "v1", &all, &[built.clone(), serves.clone(), again])
        .stays("it succeeded", 100, 3, "v1", &[last.clone(), service(&last, "True", "Reconciled")])
        .stays("the service falls", 110, 3, "v1", &[last.clone(), service(&last, "False", "RevisionFailed")]);
    story.compare("function");
}

#[test]
fn edits_in_quick_succession_wait_and_a_run_that_hangs_is_named() {
    let mut story = Story::<ElpioFunctionStatus>::default();
    let first = run("v1", 1, 0, "Unknown", "Running");
    let mut second = run("v2", 2, 10, "Unknown", "Running");
    let mut stopped = first.clone();
    stopped["spec"]["status"] = json!("Cancelled");
    let begun = [stopped.clone(), second.clone()];
    story
        .step("created", 0, 1, "v1", &[], std::slice::from_ref(&first))
        .step("an edit", 4, 2, "v2", std::slice::from_ref(&first), std::slice::from_ref(&stopped))
        .step("10 s after the first build", 10, 2, "v2", std::slice::from_ref(&stopped), &begun);
    second["metadata"]["deletionTimestamp"] = at(20).into();
    second["metadata"]["finalizers"] = json!(["chains.tekton.dev/pipelinerun"]);
    let remade = run("v2", 2, 30, "Unknown", "Running");
    story.stays("its run is being deleted", 20, 2, "v2", std::slice::from_ref(&second)).step(
        "its run is gone",
        30,
        2,
        "v2",
        &[],
        std::slice::from_ref(&remade),
    );
    let mut failed = run("v2", 2, 30, "False", "Failed");
    failed["metadata"]["deletionTimestamp"] = at(40).into();
    failed["metadata"]["finalizers"] = json!(["chains.tekton.dev/pipelinerun"]);
    story.stays("it failed, and its run is being deleted", 40, 2, "v2", std::slice::from_ref(&failed)).stays(
        "its run is gone",
        50,
        2,
        "v2",
        &[],
    );
    story.compare("function-held");
}

/// A build by tag is no new generation of the service, so the service's status has to name it.
#[test]
fn a_build_by_tag_is_served_when_the_service_names_it() {
    let mut story = Story::<ElpioFunctionStatus>::default();
    let by_tag = |number: i64, made: i64| {
        let mut run = run("v1", number, made, "True", "Succeeded");
        run["status"]["results"] = json!([]);
        run
    };
    let service_of = |build: &Value, served: Option<&Value>| {
        let mut service = service(build, "True", "Reconciled");
        service["spec"]["image"] = json!({"repository": "registry.example/cart"});
        service["status"]["build"] = served.map_or(Value::Null, |served| served["metadata"]["name"].clone());
        service
    };
    let (first, second) = (by_tag(1, 0), by_tag(2, 60));
    let served = service_of(&first, Some(&first));
    story
        .step("built", 8, 1, "v1", std::slice::from_ref(&first), &[first.clone(), served.clone()])
        .step(
            "built again, and the service has not seen it",
            68,
            1,
            "v1",
            &[first.clone(), second.clone(), served],
            &[first.clone(), second.clone(), service_of(&second, Some(&first))],
        )
        .stays(
            "the service serves it",
            70,
            1,
            "v1",
            &[first, second.clone(), service_of(&second, Some(&second))],
        );
    story.compare("function-by-tag");
}

#[test]
fn a_build_without_a_digest_leaves_none_of_the_former_one() {
    let mut story = Story::<ElpioFunctionStatus>::default();
    let by_digest = run("v1", 1, 0, "True", "Succeeded");
    let mut by_tag = run("v2", 2, 60, "True", "Succeeded");
    by_tag["status"]["results"] = json!([]);
    let served = service(&by_digest, "True", "Reconciled");
    let digest_of = |story: &Story<ElpioFunctionStatus>| story.status.as_ref().unwrap().image_digest.clone();
    story.stays("built", 8, 1, "v1", &[by_digest.clone(), served.clone()]);
    assert_eq!(digest_of(&story).as_deref(), Some(DIGEST));
    story.stays("the next build begins", 60, 2, "v2", &[by_digest.clone(), served.clone()]);
    assert_eq!(digest_of(&story).as_deref(), Some(DIGEST), "what serves is the former build");
    story.stays("built by tag", 68, 2, "v2", &[by_digest, by_tag, served]);
    assert_eq!(digest_of(&story), None);
}
