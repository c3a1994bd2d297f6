//! The claims that both kinds make alike: that a spec is invalid, that the children are as it says, that it
//! serves. Pure.

use crate::{
    api::condition::{Condition, kind, reason},
    render::{Fault, applied::Applied},
    status::conditions::{Claim, Verdict, find},
};

/// A spec that breaks rules. The parts keep what was last said of them: the children of the last valid
/// generation still run.
#[must_use]
pub fn invalid(before: &[Condition], faults: &[Fault], parts: &[&'static str]) -> Vec<Claim> {
    let listed = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let own = [kind::READY, kind::RECONCILED]
        .map(|kind| Claim::new(kind, Verdict::False, reason::INVALID_SPEC, &listed));
    let kept = parts.iter().filter_map(|kind| {
        let condition = find(before, kind)?;
        let verdict = [Verdict::True, Verdict::False]
            .into_iter()
            .find(|v| v.as_str() == condition.status)
            .unwrap_or(Verdict::Unknown);
        Some(Claim {
            of: condition.observed_generation,
            ..Claim::new(kind, verdict, &condition.reason, &condition.message)
        })
    });
    own.into_iter().chain(kept).collect()
}

/// Whether the children are as the spec says; `done` is the message when they are.
#[must_use]
pub fn reconciled(applied: &Applied, done: String) -> Claim {
    let failures: Vec<String> = applied.failures().map(|(_, f)| f.message.clone()).collect();
    let first = applied
        .failures()
        .find(|(_, f)| f.reason != reason::DEPENDENCY_MISSING)
        .or_else(|| applied.failures().next());
    if let Some((_, failure)) = first {
        return Claim::new(kind::RECONCILED, Verdict::False, failure.reason, failures.join("; "));
    }
    let holders: Vec<&str> = applied.holders().collect();
    if !holders.is_empty() {
        return Claim::new(
            kind::RECONCILED,
            Verdict::False,
            reason::PRUNING,
            format!("waiting for {} to be gone", holders.join(", ")),
        );
    }
    Claim::new(kind::RECONCILED, Verdict::True, reason::RECONCILED, done)
}

/// The user's answer: the first part that failed speaks for it, else the first that is not done; `serving` is
/// the message when all are.
pub fn ready(reconciled: &Claim, parts: &[Claim], serving: impl FnOnce() -> String) -> Claim {
    if reconciled.verdict != Verdict::True {
        return Claim { kind: kind::READY, ..reconciled.clone() };
    }
    let open = parts.iter().filter(|part| part.verdict != Verdict::True);
    match open.min_by_key(|part| part.reason == reason::PROGRESSING) {
        None => Claim::new(kind::READY, Verdict::True, reason::RECONCILED, serving()),
        Some(part) => Claim { kind: kind::READY, ..part.clone() },
    }
}
