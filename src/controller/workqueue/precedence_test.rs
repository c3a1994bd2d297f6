//! Who runs beside one that goes first.
#![allow(clippy::unwrap_used)]
use super::*;

fn many(gate: &Arc<PrecedenceGate>, count: usize, precedence: Precedence) -> Vec<PrecedenceGuard> {
    (0..count).map(|_| gate.enter(0, precedence)).collect()
}

#[tokio::test(start_paused = true)]
async fn few_apply_beside_one_that_is_preferred() {
    let gate = Arc::new(PrecedenceGate::new(16));
    let crowd = many(&gate, 16, Precedence::Normal);
    assert_eq!(gate.admission(0), Admission::All, "nobody is preferred");
    let preferred = gate.enter(1, Precedence::Preferred);
    assert_eq!(gate.admission(0), Admission::Preferred);
    assert_eq!(gate.admission(1), Admission::All, "each lane has its own few");
    drop(crowd);
    let _first = gate.enter(0, Precedence::Edit);
    assert_eq!(gate.admission(0), Admission::All, "they do not starve");
    let _second = gate.enter(0, Precedence::Background);
    assert_eq!(gate.admission(0), Admission::Preferred);
    drop(preferred);
    assert_eq!(gate.admission(0), Admission::Preferred, "another may follow");
    gate.changed().await;
    assert_eq!(gate.admission(0), Admission::All);
}

#[tokio::test(start_paused = true)]
async fn few_retries_apply_beside_an_edit() {
    let gate = Arc::new(PrecedenceGate::new(16));
    let retries = many(&gate, 2, Precedence::Background);
    let _normal = gate.enter(0, Precedence::Normal);
    assert_eq!(gate.admission(0), Admission::All, "nobody edits");
    let edit = gate.enter(0, Precedence::Edit);
    assert_eq!(gate.admission(0), Admission::Normal);
    drop(retries);
    assert_eq!(gate.admission(0), Admission::All, "they do not starve");
    let _retries = many(&gate, 2, Precedence::Background);
    drop(edit);
    assert_eq!(gate.admission(0), Admission::Normal, "another may follow");
    gate.changed().await;
    assert_eq!(gate.admission(0), Admission::All);
}

#[tokio::test(start_paused = true)]
async fn few_report_beside_one_that_is_preferred() {
    let gate = Arc::new(PrecedenceGate::new(1));
    let _edit = gate.enter(0, Precedence::Edit);
    let retries: Vec<_> = (0..9).filter_map(|_| gate.try_report(0, Precedence::Background)).collect();
    assert_eq!(retries.len(), 9, "an edit holds up nobody's report");
    drop(retries);
    let preferred = gate.try_report(0, Precedence::Preferred).unwrap();
    let one = gate.try_report(0, Precedence::Normal).unwrap();
    assert!(gate.try_report(0, Precedence::Normal).is_none());
    assert!(gate.try_report(0, Precedence::Preferred).is_some());
    drop(one);
    let one = gate.try_report(0, Precedence::Normal);
    assert!(one.is_some());
    tokio::join!(gate.changed(), async { drop(preferred) });
    gate.changed().await;
    assert!(gate.try_report(0, Precedence::Normal).is_some());
}
