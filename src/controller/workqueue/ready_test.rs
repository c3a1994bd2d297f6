//! The order of items.
use super::*;
use crate::telemetry::Trigger;

fn key(id: &str) -> ObjectKey {
    let (namespace, name) = id.split_once('/').unwrap_or(("ns", id));
    ObjectKey { namespace: namespace.into(), name: name.into() }
}

/// The order in which keys with these triggers are popped.
fn order(added: &[(&str, Trigger)]) -> Vec<String> {
    let mut ready = ReadyQueue::default();
    for (id, trigger) in added {
        ready.push(key(id), 0, (*trigger).into());
    }
    let order =
        std::iter::from_fn(|| ready.pop(0, Eligibility::All)).map(|(key, _)| key.to_string()).collect();
    let lane = &ready.lanes[0];
    assert!(ready.is_empty() && lane.foreground.is_empty() && lane.background.is_empty());
    order
}

#[test]
fn turns() {
    use Trigger::{Child, Dependency, Resync, Retry, Spec};
    for (case, added, expected) in [
        ("first come", vec![("a/1", Spec), ("a/2", Child), ("a/3", Dependency)], vec!["a/1", "a/2", "a/3"]),
        (
            "namespaces take turns",
            vec![("a/1", Spec), ("a/2", Spec), ("a/3", Spec), ("b/1", Spec), ("c/1", Spec), ("b/2", Spec)],
            vec!["a/1", "b/1", "c/1", "a/2", "b/2", "a/3"],
        ),
        (
            "edits come before retries",
            vec![("a/1", Retry), ("a/2", Resync), ("b/1", Retry), ("a/3", Spec), ("b/2", Child)],
            vec!["a/3", "b/2", "a/1", "b/1", "a/2"],
        ),
        ("each once", vec![("a/1", Spec), ("a/2", Spec), ("a/1", Spec)], vec!["a/1", "a/2"]),
        ("a retry that is edited", vec![("a/1", Retry), ("a/2", Retry), ("a/2", Spec)], vec!["a/2", "a/1"]),
        ("an edit stays one", vec![("a/1", Spec), ("a/1", Retry), ("a/2", Spec)], vec!["a/1", "a/2"]),
    ] {
        assert_eq!(order(&added), expected, "{case}");
    }
}

#[test]
fn retries_do_not_starve() {
    let edits: Vec<String> = (0..20).map(|n| format!("a/{n}")).collect();
    let mut added: Vec<(&str, Trigger)> = vec![("b/1", Trigger::Retry), ("b/2", Trigger::Retry)];
    added.extend(edits.iter().map(|id| (id.as_str(), Trigger::Spec)));
    let order = order(&added);
    let position = |id: &str| order.iter().position(|other| other == id);
    assert_eq!((position("b/1"), position("b/2")), (Some(7), Some(15)), "{order:?}");
}

#[test]
fn a_key_that_was_edited_waits_again_where_it_is_put() {
    let mut ready = ReadyQueue::default();
    ready.push(key("a/1"), 0, Precedence::Background);
    ready.push(key("a/1"), 0, Precedence::Edit);
    ready.push(key("a/2"), 0, Precedence::Background);
    assert_eq!((ready.len(), pop(&mut ready, 0)), (2, Some(key("a/1"))));
    ready.push(key("a/1"), 0, Precedence::Background);
    assert_eq!(ready.len(), 2);
    let left: Vec<ObjectKey> = std::iter::from_fn(|| pop(&mut ready, 0)).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn where_only_a_child_has_changed_no_children_wait_to_be_applied() {
    let mut ready = ReadyQueue::default();
    let mut count_after = |precedence| {
        ready.push(key("a/1"), 0, precedence);
        ready.waiting_to_apply(0)
    };
    let counts = [Precedence::Background, Precedence::Normal, Precedence::Edit, Precedence::Normal]
        .map(&mut count_after);
    assert_eq!(counts, [1, 0, 1, 1]);
    assert_eq!((ready.len(), pop(&mut ready, 0), ready.waiting_to_apply(0)), (1, Some(key("a/1")), 0));
    assert_eq!(pop(&mut ready, 0), None, "each once");
}

#[test]
fn lanes_do_not_wait_for_each_other() {
    let mut ready = ReadyQueue::default();
    for n in 0..9 {
        ready.push(key(&format!("a/{n}")), 0, Precedence::Edit);
    }
    ready.push(key("a/other"), 1, Precedence::Background);
    assert_eq!((ready.len(), ready.waiting_to_apply(0), ready.waiting_to_apply(1)), (10, 9, 1));
    assert_eq!((pop(&mut ready, 1), pop(&mut ready, 1)), (Some(key("a/other")), None));
    ready.push(key("a/0"), 1, Precedence::Edit);
    assert_eq!((ready.waiting_to_apply(0), ready.waiting_to_apply(1)), (8, 1), "it moved");
    assert_eq!((pop(&mut ready, 0), pop(&mut ready, 1)), (Some(key("a/1")), Some(key("a/0"))), "it moved");
}

fn pop(ready: &mut ReadyQueue, lane: Lane) -> Option<ObjectKey> {
    ready.pop(lane, Eligibility::All).map(|(key, _)| key)
}

#[test]
fn the_few_are_those_beside_another_namespaces_backlog() {
    let mut ready = ReadyQueue::default();
    (0..=BACKLOG).for_each(|n| ready.push(key(&format!("backlog/{n}")), 0, Precedence::Edit));
    ready.push(key("backlog/other"), 1, Precedence::Edit);
    ready.push(key("few/1"), 0, Precedence::Edit);
    ready.push(key("few/2"), 1, Precedence::Edit);
    assert_eq!(ready.pop(0, Eligibility::Preferred), Some((key("few/1"), true)), "out of turn");
    assert_eq!(ready.pop(1, Eligibility::All), Some((key("backlog/other"), false)), "beside its own backlog");
    assert_eq!(ready.pop(1, Eligibility::All), Some((key("few/2"), true)), "in any lane");
    assert_eq!(ready.pop(0, Eligibility::Preferred), None);
    assert_eq!(ready.pop(0, Eligibility::All), Some((key("backlog/0"), false)));
    assert_eq!(ready.pop(0, Eligibility::All), Some((key("backlog/1"), false)), "no backlog is left");
    ready.push(key("retry/1"), 1, Precedence::Background);
    assert_eq!(ready.pop(1, Eligibility::Foreground), None);
    assert_eq!(ready.pop(1, Eligibility::All), Some((key("retry/1"), false)));
}
