//! Who runs beside one that goes first.
#![allow(clippy::unwrap_used)]
use super::*;

async fn in_time<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_millis(20), future).await.ok()
}

#[tokio::test(start_paused = true)]
async fn few_apply_beside_one_that_is_preferred() {
    let gate = Arc::new(PrecedenceGate::new(16));
    let many: Vec<_> = (0..16).map(|_| gate.enter(Precedence::Normal)).collect();
    assert_eq!(gate.admission(), Admission::All, "nobody is preferred");
    let preferred = gate.enter(Precedence::Preferred);
    assert_eq!(gate.admission(), Admission::Preferred);
    drop(many);
    let _first = gate.enter(Precedence::Normal);
    assert_eq!(gate.admission(), Admission::All, "they do not starve");
    let _second = gate.enter(Precedence::Background);
    assert_eq!(gate.admission(), Admission::Preferred);
    drop(preferred);
    assert_eq!(gate.admission(), Admission::Preferred, "another may follow");
    gate.changed().await;
    assert_eq!(gate.admission(), Admission::All);
}

#[tokio::test(start_paused = true)]
async fn few_retries_apply_beside_an_edit() {
    let gate = Arc::new(PrecedenceGate::new(16));
    let retries: Vec<_> = (0..2).map(|_| gate.enter(Precedence::Background)).collect();
    assert_eq!(gate.admission(), Admission::All, "nobody did anything");
    let edit = gate.enter(Precedence::Normal);
    assert_eq!(gate.admission(), Admission::Normal);
    drop(retries);
    assert_eq!(gate.admission(), Admission::All, "they do not starve");
    let _retries: Vec<_> = (0..2).map(|_| gate.enter(Precedence::Background)).collect();
    let reporting = gate.enter_reporting(Precedence::Normal).await;
    drop(edit);
    assert_eq!(gate.admission(), Admission::Normal, "it reports");
    drop(reporting);
    gate.changed().await;
    assert_eq!(gate.admission(), Admission::All);
}

#[tokio::test(start_paused = true)]
async fn few_report_beside_one_that_is_preferred() {
    let gate = Arc::new(PrecedenceGate::new(1));
    let preferred = gate.enter_reporting(Precedence::Preferred).await;
    let report = || in_time(gate.enter_reporting(Precedence::Normal));
    let one = report().await.unwrap();
    assert!(report().await.is_none());
    drop(one);
    let _one = report().await.unwrap();
    let (other, ()) = tokio::join!(gate.enter_reporting(Precedence::Normal), async { drop(preferred) });
    assert_eq!(gate.running.lock().0[Precedence::Normal as usize].reporting, 2);
    drop(other);
}
