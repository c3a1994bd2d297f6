//! Who runs beside one that is preferred.
#![allow(clippy::unwrap_used)]
use super::*;

async fn in_time<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_millis(20), future).await.ok()
}

#[tokio::test(start_paused = true)]
async fn few_apply_beside_one_that_is_preferred() {
    let gate = Arc::new(PrecedenceGate::new(16));
    let many: Vec<_> = (0..16).map(|_| gate.enter(Precedence::Normal)).collect();
    assert!(gate.admission().all, "nobody is preferred");
    let preferred = gate.enter(Precedence::Preferred);
    assert!(!gate.admission().all);
    drop(many);
    let _first = gate.enter(Precedence::Normal);
    assert!(gate.admission().all, "they do not starve");
    let second = gate.enter(Precedence::Background);
    assert!(!gate.admission().all);
    drop(preferred);
    assert!(!gate.admission().all, "another may follow");
    gate.changed().await;
    assert_eq!(gate.admission(), Admission { all: true, background_runs: true });
    drop(second);
    assert_eq!(gate.admission(), Admission::ALL);
}

#[tokio::test(start_paused = true)]
async fn few_report_beside_one_that_is_preferred() {
    let gate = Arc::new(PrecedenceGate::new(1));
    let preferred = gate.enter(Precedence::Preferred);
    let report = || in_time(gate.enter_reporting());
    let one = report().await.unwrap();
    assert!(report().await.is_none());
    drop(one);
    let _one = report().await.unwrap();
    let (other, ()) = tokio::join!(gate.enter_reporting(), async { drop(preferred) });
    let running = gate.running.lock();
    assert_eq!((running.preferred, running.reporting), (0, 2));
    drop((running, other));
}
