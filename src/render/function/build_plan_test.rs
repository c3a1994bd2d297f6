//! When a build is due, by the status, the inputs and the runs of a function: tables.
#![allow(clippy::unwrap_used)]
use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::{api::condition::Condition, render::function::testing::*};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn decide_with(
    valid: &ValidFunction,
    previous: &ElpioFunctionStatus,
    live: Vec<(ChildId, Arc<DynamicObject>)>,
) -> BuildPlan {
    decide(valid, Some(previous), &live.into_iter().collect(), now())
}

/// A build that started `age` seconds ago.
fn build(valid: &ValidFunction, number: i64, age: i64, result: Option<BuildOutcome>) -> BuildStatus {
    BuildStatus {
        name: valid.run_name(number, valid.rebuild.as_deref()),
        number,
        inputs: valid.inputs.hash(),
        rebuild: valid.rebuild.clone(),
        started_at: Some(at(-age)),
        result,
        ..BuildStatus::default()
    }
}

fn rebuild(valid: &ValidFunction, value: &str) -> ValidFunction {
    ValidFunction { rebuild: Some(value.to_owned()), ..valid.clone() }
}

#[test]
fn a_build_is_due_when_inputs_differ_or_a_rebuild_is_asked() {
    let (v1, v2) = (function("v1", 3), function("v2", 3));
    let (asked, asked_again) = (rebuild(&v1, "1"), rebuild(&v1, "2"));
    let done = Some(BuildOutcome::Succeeded);
    for (what, valid, last, number, state) in [
        ("the same inputs", &v1, build(&v1, 4, 600, done), 4, BuildState::Succeeded),
        (
            "the same inputs, failed",
            &v1,
            build(&v1, 4, 600, Some(BuildOutcome::Failed)),
            4,
            BuildState::Failed,
        ),
        ("other inputs", &v2, build(&v1, 4, 600, done), 5, BuildState::Due),
        ("inputs that came back while another was built", &v1, build(&v2, 5, 600, None), 6, BuildState::Due),
        (
            "inputs whose build was superseded",
            &v1,
            build(&v1, 4, 600, Some(BuildOutcome::Superseded)),
            5,
            BuildState::Due,
        ),
        ("a rebuild", &asked, build(&v1, 4, 600, done), 5, BuildState::Due),
        ("the same rebuild", &asked, build(&asked, 5, 600, done), 5, BuildState::Succeeded),
        ("another rebuild", &asked_again, build(&asked, 5, 600, done), 6, BuildState::Due),
        ("the annotation is removed", &v1, build(&asked, 5, 600, done), 5, BuildState::Succeeded),
        (
            "the annotation is removed, it failed",
            &v1,
            build(&asked, 5, 600, Some(BuildOutcome::Failed)),
            5,
            BuildState::Failed,
        ),
    ] {
        let plan = decide_with(valid, &status(Some(last)), vec![]);
        assert_eq!((plan.build.number, plan.state), (number, state), "{what}");
    }
}

#[test]
fn the_value_of_a_rebuild_is_remembered_after_the_annotation() {
    let (v1, v2) = (function("v1", 3), function("v2", 3));
    let last = build(&rebuild(&v1, "1"), 2, 600, Some(BuildOutcome::Succeeded));
    let next = decide_with(&v2, &status(Some(last)), vec![]).build;
    assert_eq!((next.number, next.rebuild.as_deref()), (3, Some("1")));
    let again = decide_with(&rebuild(&v2, "1"), &status(Some(next.clone())), vec![]);
    assert_eq!(again.build.number, 3, "it asks for nothing new");
}

#[test]
fn content_is_not_built_twice() {
    let (commit, other) = (function(COMMIT, 3), function("v2", 3));
    let first = build(&commit, 1, 600, Some(BuildOutcome::Succeeded));
    let annotated = json!({"metadata": {"annotations": {
        "elpio.io/build-inputs": commit.inputs.hash(), "elpio.io/build-number": "1"}}});
    for (what, valid, succeeded, expected) in [
        ("it succeeded", commit.clone(), "True", (first.name.clone(), 2, BuildState::Succeeded)),
        ("it failed", commit.clone(), "False", (commit.run_name(3, None), 3, BuildState::Due)),
        (
            "a rebuild is asked",
            rebuild(&commit, "1"),
            "True",
            (commit.run_name(3, Some("1")), 3, BuildState::Due),
        ),
    ] {
        let previous = status(Some(build(&other, 2, 300, Some(BuildOutcome::Succeeded))));
        let plan = decide_with(&valid, &previous, vec![run(&first.name, 600, succeeded, &annotated)]);
        assert_eq!((plan.build.name, plan.build.number, plan.state), expected, "{what}");
        if plan.state == BuildState::Succeeded {
            assert_eq!(plan.served.unwrap().build, first.name);
        }
    }
    let name = other.run_name(1, None);
    let previous = status(Some(build(&commit, 2, 300, Some(BuildOutcome::Succeeded))));
    let plan = decide_with(&other, &previous, vec![run(&name, 600, "True", &json!({}))]);
    assert_eq!((plan.build.number, plan.state), (3, BuildState::Due), "a branch or a tag is built again");
}

#[test]
fn a_crash_before_the_status_makes_no_second_run() {
    let (v1, v2) = (function("v1", 3), function("v2", 3));
    let annotated = |valid: &ValidFunction, number: i64| {
        let annotations = json!({"elpio.io/build-inputs": valid.inputs.hash(), "elpio.io/build-number": number.to_string()});
        run(&valid.run_name(number, None), 5, "Unknown", &json!({"metadata": {"annotations": annotations}}))
    };
    let before = status(Some(build(&v1, 1, 600, Some(BuildOutcome::Succeeded))));
    let created = decide_with(&v2, &before, vec![]);
    assert_eq!(created.state, BuildState::Due);
    let found = decide_with(&v2, &before, vec![annotated(&v2, 2)]);
    assert_eq!((found.build.name.as_str(), found.state), (created.build.name.as_str(), BuildState::Running));
    assert_eq!(found.build.burst, Some(1), "it began, so it counts");
    let back = decide_with(&v1, &before, vec![annotated(&v2, 2)]);
    assert_eq!(
        (back.build.number, back.state),
        (3, BuildState::Delayed(at(5).0)),
        "and it was begun just now"
    );
    let lost = decide_with(&v2, &status(None), vec![annotated(&v2, 7)]);
    assert_eq!(
        (lost.build.number, lost.state),
        (7, BuildState::Running),
        "the runs tell what the status lost"
    );
}

#[test]
fn builds_that_follow_each_other_wait_ever_longer() {
    let (v1, v2) = (function("v1", 3), function("v2", 3));
    let state = |age: i64, burst: i32| {
        let last = BuildStatus { burst: Some(burst), ..build(&v1, 4, age, None) };
        decide_with(&v2, &status(Some(last)), vec![]).state
    };
    for (burst, pause) in [(1, 10), (2, 20), (3, 40), (4, 80), (5, 160), (6, 300), (99, 300)] {
        assert_eq!(state(pause, burst), BuildState::Due, "{burst}");
        assert_eq!(state(pause - 1, burst), BuildState::Delayed(at(1).0), "{burst}");
    }
    let burst = |age: i64| {
        let last = BuildStatus { burst: Some(2), ..build(&v1, 4, age, None) };
        decide_with(&v2, &status(Some(last)), vec![]).build.burst
    };
    assert_eq!((burst(39), burst(40)), (Some(3), Some(1)), "a quiet while is forgotten");
    let lost = decide_with(&v1, &status(Some(build(&v1, 4, 3, None))), vec![]);
    assert_eq!(lost.state, BuildState::Delayed(at(7).0), "a run that was deleted early is made again later");
    assert_eq!(lost.build.name, build(&v1, 4, 3, None).name, "and is the same build");
}

#[test]
fn a_clock_that_was_set_back_holds_no_build_up() {
    let (v1, v2) = (function("v1", 3), function("v2", 3));
    for (ahead, burst, wait) in
        [(1, 1, 11), (10, 1, 20), (11, 1, 0), (3600, 1, 0), (300, 6, 600), (301, 6, 0)]
    {
        let last = BuildStatus { burst: Some(burst), ..build(&v1, 4, -ahead, None) };
        let state = |at| decide(&v2, Some(&status(Some(last.clone()))), &LiveChildren::new(), at).state;
        let begins = match state(now()) {
            BuildState::Delayed(begins) => begins,
            _ => now(),
        };
        assert_eq!(begins, at(wait).0, "{ahead} s ahead, {burst}");
        assert_eq!(state(begins), BuildState::Due, "{ahead} s ahead, {burst}: it is not put off again");
    }
}

/// A user who changes the annotation in a loop.
#[test]
fn a_loop_of_rebuilds_builds_a_few_times_an_hour() {
    let mut remembered = status(None);
    let mut begun = Vec::new();
    for second in 0..3600 {
        let valid = rebuild(&function("v1", 3), &second.to_string());
        let at = at(second).0;
        let plan = decide(&valid, Some(&remembered), &LiveChildren::new(), at);
        if plan.state == BuildState::Due {
            begun.push(second);
            let build = BuildStatus { started_at: Some(Time(at)), ..plan.build };
            remembered.last_build = Some(build);
        }
    }
    assert_eq!(begun[..7], [0, 10, 30, 70, 150, 310, 610]);
    assert!(begun.windows(2).skip(6).all(|pair| pair[1] - pair[0] == 300), "{begun:?}");
}

#[test]
fn the_status_of_an_older_version_builds_nothing() {
    let v1 = function("v1", 3);
    let name = v1.first_build().name;
    let condition = |status: &str, reason: &str| {
        let condition = json!({"type": "BuildReady", "status": status, "reason": reason, "message": "", "lastTransitionTime": at(0)});
        serde_json::from_value::<Condition>(condition).unwrap()
    };
    let older = |build: &str, condition: Condition| ElpioFunctionStatus {
        build: Some(build.to_owned()),
        conditions: vec![condition],
        ..status(None)
    };
    let (good, bad) = (condition("True", "BuildSucceeded"), condition("False", "BuildFailed"));
    let none = json!({});
    for (what, previous, live, expected) in [
        (
            "it succeeded",
            older(&name, good.clone()),
            vec![run(&name, 600, "True", &none)],
            BuildState::Succeeded,
        ),
        ("it was pruned", older(&name, good.clone()), vec![serving(Some(&name))], BuildState::Succeeded),
        ("it failed", older(&name, bad.clone()), vec![run(&name, 600, "False", &none)], BuildState::Failed),
        ("it failed and was deleted", older(&name, bad), vec![], BuildState::Failed),
        ("it runs", older(&name, good.clone()), vec![run(&name, 600, "Unknown", &none)], BuildState::Running),
    ] {
        let plan = decide_with(&v1, &previous, live);
        assert_eq!(
            (plan.build.name.as_str(), plan.build.number, plan.state),
            (name.as_str(), 1, expected),
            "{what}"
        );
        if expected == BuildState::Succeeded {
            assert!(plan.served.is_some(), "{what}: the image that serves is known");
        }
    }
    let other = decide_with(&v1, &older("f-build-other", good), vec![serving(Some("f-build-other"))]);
    assert_eq!((other.build.number, other.state), (2, BuildState::Due), "inputs that were edited meanwhile");
    assert_eq!(other.served.unwrap().digest.as_deref(), Some("sha256:old"));
}

#[test]
fn the_image_that_serves_is_that_of_the_last_good_build() {
    let (v1, v2) = (function("v1", 3), function("v2", 3));
    let served = |build: &str| ServedBuild { build: build.to_owned(), ..ServedBuild::default() };
    let previous =
        |build: BuildStatus| ElpioFunctionStatus { served: Some(served("old")), ..status(Some(build)) };
    let name = v1.run_name(1, None);
    let reported = |live: &str| vec![run(&name, 60, live, &json!({})), serving(Some("evil"))];
    let of = |valid: &ValidFunction, live: &str| {
        decide_with(valid, &previous(build(&v1, 1, 60, None)), reported(live)).served.unwrap()
    };
    assert_eq!((of(&v1, "True").build, of(&v1, "True").digest.as_deref()), (name.clone(), Some(DIGEST)));
    assert_eq!(of(&v1, "False").build, "old");
    assert_eq!(of(&v1, "Unknown").build, "old");
    assert_eq!(of(&v2, "True").build, name, "an edit came before the status remembered the success");
    let superseded = json!({"metadata": {"annotations": {"elpio.io/superseded-by": "x"}}});
    let live = vec![run(&name, 60, "True", &superseded)];
    let plan = decide_with(&v2, &previous(build(&v1, 1, 60, None)), live);
    assert_eq!(plan.served.unwrap().build, "old", "it was cancelled, and ended well all the same");
    let params = json!({"spec": {"params": [{"name": "APP_IMAGE", "value": "example.com:5000/other:v9"}]}});
    let live = vec![run(&name, 60, "True", &params)];
    let plan = decide_with(&v2, &previous(build(&v1, 1, 60, None)), live);
    assert_eq!(plan.served.unwrap().repository, "example.com:5000/other", "where that run pushed");
    let pruned = decide_with(
        &v1,
        &previous(build(&v1, 1, 60, Some(BuildOutcome::Succeeded))),
        vec![serving(Some("evil"))],
    );
    assert_eq!(pruned.served, Some(served("old")), "the service is never asked");
}

/// Run names of older versions: if one changed, an upgrade would rebuild every function.
#[test]
fn the_first_run_has_the_name_that_older_versions_gave_it() {
    let names: Vec<Value> = [function("v1", 3), rebuild(&function("v1", 3), "1")]
        .iter()
        .map(|valid| valid.first_build().name.into())
        .collect();
    assert_eq!(json!(names), json!(["f-build-fd2fd61a27", "f-build-d76cb6bbaf"]));
}
