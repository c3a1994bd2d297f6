//! Sets conditions such that their transition times change only with their status. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{
    attribute_values::attribute_values,
    condition::{Condition, kind, reason},
};

/// The limit in the API server's schema for conditions, in characters. Counted in bytes here, which are never
/// fewer.
const MESSAGE_LIMIT: usize = 4096;

attribute_values! {
    /// The `status` of a condition.
    ConditionStatus {
        /// The condition holds.
        True = "True",
        /// The condition does not hold.
        False = "False",
        /// Not known yet.
        Unknown = "Unknown",
    }
}

/// A condition without a transition time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCondition {
    /// The condition's type.
    pub kind: &'static str,
    /// The status.
    pub status: ConditionStatus,
    /// The reason, one `CamelCase` word.
    pub reason: String,
    /// The message.
    pub message: String,
    /// The generation that the condition observed, if that is not the current one.
    pub observed_generation: Option<i64>,
}

impl NewCondition {
    /// A condition for the current generation.
    pub fn new(
        kind: &'static str,
        condition_status: ConditionStatus,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            status: condition_status,
            reason: reason.into(),
            message: message.into(),
            observed_generation: None,
        }
    }
}

/// The condition of this type.
#[must_use]
pub fn find_condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == kind)
}

/// Whether something that the object waits for failed, by its condition `Ready`.
#[must_use]
pub fn is_failing(ready: &Condition) -> bool {
    ready.status != "True" && ready.reason != reason::PROGRESSING
}

/// Whether the condition of this type is `True`.
#[must_use]
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    find_condition(conditions, kind).is_some_and(|c| c.status == ConditionStatus::True.as_str())
}

/// Sets Elpio's conditions; a transition time changes only with the status. Drops conditions of Elpio's types
/// that are not among the new ones. Conditions of other types belong to other controllers and stay.
#[must_use]
pub fn set_conditions(
    previous: &[Condition],
    new_conditions: Vec<NewCondition>,
    generation: i64,
    now: Timestamp,
) -> Vec<Condition> {
    // The API server stores whole seconds.
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let condition = |new_condition: NewCondition| {
        let before = find_condition(previous, new_condition.kind)
            .filter(|c| c.status == new_condition.status.as_str());
        Condition {
            last_transition_time: before.map_or(Time(now), |c| c.last_transition_time.clone()),
            type_: new_condition.kind.to_owned(),
            status: new_condition.status.as_str().to_owned(),
            reason: sanitize_reason(&new_condition.reason),
            message: new_condition.message[..new_condition.message.floor_char_boundary(MESSAGE_LIMIT)]
                .to_owned(),
            observed_generation: Some(new_condition.observed_generation.unwrap_or(generation)),
        }
    };
    let others = previous.iter().filter(|c| !kind::ALL.contains(&c.type_.as_str())).cloned();
    new_conditions.into_iter().map(condition).chain(others).collect()
}

/// Converts a reason to the format that `metav1.Condition` requires; engines' reasons may differ.
fn sanitize_reason(text: &str) -> String {
    let kept: String = text
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ',' | ':'))
        .take(1024)
        .collect();
    let fits = kept.starts_with(|c: char| c.is_ascii_alphabetic())
        && kept.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if fits { kept } else { "Unknown".to_owned() }
}

/// The metric label for why an object is not ready. A closed set: a reason copied from an engine counts under
/// the name of its part.
#[must_use]
pub fn metric_reason(conditions: &[Condition]) -> &'static str {
    let Some(ready) = find_condition(conditions, kind::READY) else { return reason::PROGRESSING };
    // `Ready` is Progressing both during a build and during the start after it; metrics distinguish them.
    let builds = || {
        find_condition(conditions, kind::BUILD_READY).is_some_and(|build| build.reason == reason::BUILDING)
    };
    if ready.reason == reason::PROGRESSING && builds() {
        return reason::BUILDING;
    }
    if let Some(own) = OWN_REASONS.iter().find(|own| **own == ready.reason) {
        return own;
    }
    let parts = [
        (kind::BUILD_READY, reason::BUILD_FAILED),
        (kind::ENGINE_READY, reason::ENGINE_NOT_READY),
        (kind::DOMAIN_READY, reason::DOMAIN_NOT_READY),
        (kind::SECRETS_READY, reason::SECRETS_NOT_READY),
        (kind::SERVICE_READY, reason::SERVICE_NOT_READY),
    ];
    let failing = parts.iter().find(|(part, _)| {
        find_condition(conditions, part).is_some_and(|c| c.status == "False" && c.reason == ready.reason)
    });
    failing.map_or(reason::ENGINE_NOT_READY, |(_, counted)| counted)
}

/// Elpio's own reasons for `Ready`.
const OWN_REASONS: [&str; 8] = [
    reason::RECONCILED,
    reason::PROGRESSING,
    reason::INVALID_SPEC,
    reason::NAME_CONFLICT,
    reason::DEPENDENCY_MISSING,
    reason::FORBIDDEN,
    reason::PRUNING,
    reason::APPLY_FAILED,
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ready(condition_status: ConditionStatus, why: &str) -> Vec<NewCondition> {
        vec![NewCondition::new(kind::READY, condition_status, why, "m")]
    }

    #[test]
    fn the_time_moves_with_the_status_only() {
        let first = set_conditions(&[], ready(ConditionStatus::False, "A"), 1, at(10));
        let same = set_conditions(&first, ready(ConditionStatus::False, "B"), 2, at(20));
        assert_eq!(
            (same[0].last_transition_time.0, same[0].reason.as_str(), same[0].observed_generation),
            (at(10), "B", Some(2))
        );
        let moved = set_conditions(&same, ready(ConditionStatus::True, "B"), 2, at(30));
        assert_eq!(moved[0].last_transition_time.0, at(30));
    }

    #[test]
    fn conditions_of_other_controllers_stay() {
        let condition = |type_: &str| Condition {
            type_: type_.to_owned(),
            status: "True".to_owned(),
            reason: "R".to_owned(),
            message: String::new(),
            last_transition_time: Time(at(1)),
            observed_generation: None,
        };
        let previous = [condition("example.com/Audited"), condition(kind::DOMAIN_READY)];
        let set = set_conditions(&previous, ready(ConditionStatus::True, "A"), 1, at(2));
        assert_eq!(
            set.iter().map(|c| c.type_.as_str()).collect::<Vec<_>>(),
            [kind::READY, "example.com/Audited"]
        );
        assert_eq!(set[1], previous[0]);
    }

    #[test]
    fn reasons_fit_the_schema() {
        for (given, expected) in [
            ("RevisionFailed", "RevisionFailed"),
            ("no such image", "nosuchimage"),
            ("", "Unknown"),
            ("503", "Unknown"),
            ("A:", "Unknown"),
        ] {
            assert_eq!(sanitize_reason(given), expected);
        }
    }

    #[test]
    fn what_is_copied_counts_under_its_part() {
        let conditions = |part: &'static str| {
            let new_conditions = vec![
                NewCondition::new(kind::READY, ConditionStatus::False, "Copied", ""),
                NewCondition::new(part, ConditionStatus::False, "Copied", ""),
            ];
            set_conditions(&[], new_conditions, 1, at(0))
        };
        for (part, counted) in [
            (kind::ENGINE_READY, reason::ENGINE_NOT_READY),
            (kind::DOMAIN_READY, reason::DOMAIN_NOT_READY),
            (kind::SECRETS_READY, reason::SECRETS_NOT_READY),
            (kind::BUILD_READY, reason::BUILD_FAILED),
            (kind::SERVICE_READY, reason::SERVICE_NOT_READY),
        ] {
            assert_eq!(metric_reason(&conditions(part)), counted);
        }
        for own in OWN_REASONS {
            assert_eq!(
                metric_reason(&set_conditions(&[], ready(ConditionStatus::False, own), 1, at(0))),
                own
            );
        }
        assert_eq!(metric_reason(&[]), reason::PROGRESSING);
        let building = [
            ready(ConditionStatus::False, reason::PROGRESSING),
            vec![NewCondition::new(kind::BUILD_READY, ConditionStatus::False, reason::BUILDING, "m")],
        ];
        assert_eq!(metric_reason(&set_conditions(&[], building.concat(), 1, at(0))), reason::BUILDING);
    }
}
