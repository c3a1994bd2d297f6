//! Who runs beside one that goes first.
#![allow(clippy::unwrap_used)]
use super::*;

fn many(gate: &Arc<PrecedenceGate>, count: usize, precedence: Precedence) -> Vec<PrecedenceGuard> {
    (0..count).map(|_| gate.enter(0, precedence)).collect()
}

#[tokio::test(start_paused = true)]
async fn few_apply_beside_one_that_is_preferred() {
    let gate = Arc::new(PrecedenceGate::new(16));
    let backlog = many(&gate, 16, Precedence::Normal);
    assert_eq!(gate.eligibility(0), Eligibility::All, "nobody is preferred");
    let preferred = gate.enter(1, Precedence::Preferred);
    assert_eq!(gate.eligibility(0), Eligibility::Preferred);
    assert_eq!(gate.eligibility(1), Eligibility::All, "each lane has its own few");
    drop(backlog);
    let _first = gate.enter(0, Precedence::Edit);
    assert_eq!(gate.eligibility(0), Eligibility::All, "they do not starve");
    let _second = gate.enter(0, Precedence::Background);
    assert_eq!(gate.eligibility(0), Eligibility::Preferred);
    drop(preferred);
    assert_eq!(gate.eligibility(0), Eligibility::Preferred, "another may follow");
    gate.changed().await;
    assert_eq!(gate.eligibility(0), Eligibility::All);
}

#[tokio::test(start_paused = true)]
async fn few_retries_apply_beside_an_edit() {
    let gate = Arc::new(PrecedenceGate::new(16));
    let retries = many(&gate, 2, Precedence::Background);
    let _normal = gate.enter(0, Precedence::Normal);
    assert_eq!(gate.eligibility(0), Eligibility::All, "nobody edits");
    let edit = gate.enter(0, Precedence::Edit);
    assert_eq!(gate.eligibility(0), Eligibility::Normal);
    drop(retries);
    assert_eq!(gate.eligibility(0), Eligibility::All, "they do not starve");
    let _retries = many(&gate, 2, Precedence::Background);
    drop(edit);
    assert_eq!(gate.eligibility(0), Eligibility::Normal, "another may follow");
    gate.changed().await;
    assert_eq!(gate.eligibility(0), Eligibility::All);
}

#[tokio::test(start_paused = true)]
async fn few_report_beside_one_that_is_preferred() {
    let gate = Arc::new(PrecedenceGate::new(16));
    let mut edit = gate.enter(0, Precedence::Edit);
    edit.begin_status();
    assert_eq!(gate.status_limit(), None, "an edit holds up nobody's status");
    let mut preferred = gate.enter(0, Precedence::Preferred);
    assert_eq!(gate.status_limit(), Some(2));
    preferred.begin_status();
    assert_eq!(gate.status_limit(), Some(2));
    drop(preferred);
    assert_eq!(gate.status_limit(), Some(2), "another may follow");
    gate.changed().await;
    assert_eq!(gate.status_limit(), None);
    drop(edit);
    assert!(gate.running.lock().0.iter().all(|class| !class.is_running()));
}
