//! The conditions that both kinds share: `Ready`, `Reconciled`, and those for kstatus. Pure.

use crate::{
    api::condition::{Condition, kind, reason},
    render::{FieldError, applied::Applied},
    status::conditions::{ConditionStatus, NewCondition, find_condition},
};

/// The conditions for an invalid spec. The conditions of the parts are unchanged: the children of the last
/// valid generation still run.
#[must_use]
pub fn invalid(before: &[Condition], errors: &[FieldError], parts: &[&'static str]) -> Vec<NewCondition> {
    let listed = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let own = [kind::READY, kind::RECONCILED]
        .map(|kind| NewCondition::new(kind, ConditionStatus::False, reason::INVALID_SPEC, &listed));
    let kept = parts.iter().filter_map(|kind| {
        let condition = find_condition(before, kind)?;
        let condition_status = ConditionStatus::parse(&condition.status).unwrap_or(ConditionStatus::Unknown);
        Some(NewCondition {
            observed_generation: condition.observed_generation,
            ..NewCondition::new(kind, condition_status, &condition.reason, &condition.message)
        })
    });
    own.into_iter().chain(kept).collect()
}

/// The condition `Reconciled`: whether the children match the spec.
#[must_use]
pub fn reconciled(applied: &Applied, message_when_true: String) -> NewCondition {
    let mut failures: Vec<String> = applied.failures().map(|(_, f)| f.message.clone()).collect();
    // Several children may fail for the same cause.
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
            message(&[format!("waiting for {} to be deleted", holders.join(", "))]),
        );
    }
    let message = message(&[message_when_true]);
    NewCondition::new(kind::RECONCILED, ConditionStatus::True, reason::RECONCILED, message)
}

/// The condition `Ready`: a copy of the first part that failed, else of the first that is not ready.
pub fn ready(
    reconciled: &NewCondition,
    parts: &[NewCondition],
    message_when_true: impl FnOnce() -> String,
) -> NewCondition {
    if reconciled.status != ConditionStatus::True {
        return NewCondition { kind: kind::READY, ..reconciled.clone() };
    }
    let open = parts.iter().filter(|part| part.status != ConditionStatus::True);
    match open.min_by_key(|part| part.reason == reason::PROGRESSING) {
        None => {
            NewCondition::new(kind::READY, ConditionStatus::True, reason::RECONCILED, message_when_true())
        }
        Some(part) => NewCondition { kind: kind::READY, ..part.clone() },
    }
}

/// Adds the condition that kstatus reads if the object is not ready: `Stalled` if only an edit helps, else
/// `Reconciling`. A ready object has neither.
#[must_use]
pub fn with_kstatus_condition(mut conditions: Vec<NewCondition>) -> Vec<NewCondition> {
    let open = conditions.iter().find(|c| c.kind == kind::READY && c.status != ConditionStatus::True);
    let progress = open.map(|ready| {
        let stalled = matches!(ready.reason.as_str(), reason::INVALID_SPEC | reason::BUILD_FAILED);
        let kind = if stalled { kind::STALLED } else { kind::RECONCILING };
        // The condition `Ready` has the message, which is stored only once.
        NewCondition::new(kind, ConditionStatus::True, &ready.reason, "see the condition Ready")
    });
    conditions.extend(progress);
    conditions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kstatus_reads_one_condition_more_where_it_is_not_ready() {
        let added = |status, why: &str| {
            let all = with_kstatus_condition(vec![NewCondition::new(kind::READY, status, why, "m")]);
            all[1..].iter().map(|c| (c.kind, c.status, c.reason.clone())).collect::<Vec<_>>()
        };
        assert_eq!(added(ConditionStatus::True, reason::RECONCILED), []);
        for stalled in [reason::INVALID_SPEC, reason::BUILD_FAILED] {
            let expected = [(kind::STALLED, ConditionStatus::True, stalled.to_owned())];
            assert_eq!(added(ConditionStatus::False, stalled), expected);
        }
        for passing in [reason::PROGRESSING, reason::NAME_CONFLICT, reason::FORBIDDEN, "RevisionFailed"] {
            for status in [ConditionStatus::False, ConditionStatus::Unknown] {
                let expected = [(kind::RECONCILING, ConditionStatus::True, passing.to_owned())];
                assert_eq!(added(status, passing), expected);
            }
        }
    }
}
