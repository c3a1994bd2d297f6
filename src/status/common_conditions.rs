//! The claims that both kinds make alike: that a spec is invalid, that the children are as it says, that it
//! serves. Pure.

use crate::{
    api::condition::{Condition, kind, reason},
    render::{FieldError, applied::Applied},
    status::conditions::{ConditionStatus, NewCondition, find_condition},
};

/// A spec that breaks rules. The parts keep what was last said of them: the children of the last valid
/// generation still run.
#[must_use]
pub fn invalid(before: &[Condition], errors: &[FieldError], parts: &[&'static str]) -> Vec<NewCondition> {
    let listed = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let own = [kind::READY, kind::RECONCILED]
        .map(|kind| NewCondition::new(kind, ConditionStatus::False, reason::INVALID_SPEC, &listed));
    let kept = parts.iter().filter_map(|kind| {
        let condition = find_condition(before, kind)?;
        let condition_status = [ConditionStatus::True, ConditionStatus::False]
            .into_iter()
            .find(|v| v.as_str() == condition.status)
            .unwrap_or(ConditionStatus::Unknown);
        Some(NewCondition {
            observed_generation: condition.observed_generation,
            ..NewCondition::new(kind, condition_status, &condition.reason, &condition.message)
        })
    });
    own.into_iter().chain(kept).collect()
}

/// Whether the children are as the spec says; `done` is the message when they are.
#[must_use]
pub fn reconciled(applied: &Applied, done: String) -> NewCondition {
    let mut failures: Vec<String> = applied.failures().map(|(_, f)| f.message.clone()).collect();
    // One cause may concern several children.
    failures.dedup();
    let first = applied
        .failures()
        .find(|(_, f)| f.reason != reason::DEPENDENCY_MISSING)
        .or_else(|| applied.failures().next());
    let message = |causes: &[String]| [causes, &applied.remarks()].concat().join("; ");
    if let Some((_, failure)) = first {
        return NewCondition::new(
            kind::RECONCILED,
            ConditionStatus::False,
            failure.reason,
            message(&failures),
        );
    }
    let holders: Vec<&str> = applied.names_in_use().collect();
    if !holders.is_empty() {
        return NewCondition::new(
            kind::RECONCILED,
            ConditionStatus::False,
            reason::PRUNING,
            message(&[format!("waiting for {} to be gone", holders.join(", "))]),
        );
    }
    NewCondition::new(kind::RECONCILED, ConditionStatus::True, reason::RECONCILED, message(&[done]))
}

/// The user's answer: the first part that failed speaks for it, else the first that is not done; `serving` is
/// the message when all are.
pub fn ready(
    reconciled: &NewCondition,
    parts: &[NewCondition],
    serving: impl FnOnce() -> String,
) -> NewCondition {
    if reconciled.status != ConditionStatus::True {
        return NewCondition { kind: kind::READY, ..reconciled.clone() };
    }
    let open = parts.iter().filter(|part| part.status != ConditionStatus::True);
    match open.min_by_key(|part| part.reason == reason::PROGRESSING) {
        None => NewCondition::new(kind::READY, ConditionStatus::True, reason::RECONCILED, serving()),
        Some(part) => NewCondition { kind: kind::READY, ..part.clone() },
    }
}
