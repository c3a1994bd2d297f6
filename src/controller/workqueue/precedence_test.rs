//! Which reconciles may run beside one that goes first.
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
    assert_eq!(gate.eligibility(1), Eligibility::All, "each lane has its own limit");
    drop(backlog);
    assert_eq!(gate.eligibility(0), Eligibility::All, "they do not starve");
    let _one = gate.enter(0, Precedence::Background);
    assert_eq!(gate.eligibility(0), Eligibility::Preferred);
    drop(preferred);
    assert_eq!(gate.eligibility(0), Eligibility::Preferred, "another may follow");
    gate.changed().await;
    assert_eq!(gate.eligibility(0), Eligibility::All);
}

#[tokio::test(start_paused = true)]
async fn few_retries_apply_beside_an_edit() {
    let gate = Arc::new(PrecedenceGate::new(16));
    let retries = many(&gate, 1, Precedence::Background);
    let _normal = gate.enter(0, Precedence::Normal);
    assert_eq!(gate.eligibility(0), Eligibility::All, "nobody edits");
    let edit = gate.enter(0, Precedence::Edit);
    assert_eq!(gate.eligibility(0), Eligibility::Foreground);
    drop(retries);
    assert_eq!(gate.eligibility(0), Eligibility::All, "they do not starve");
    let _retries = many(&gate, 1, Precedence::Background);
    drop(edit);
    assert_eq!(gate.eligibility(0), Eligibility::Foreground, "another may follow");
    gate.changed().await;
    assert_eq!(gate.eligibility(0), Eligibility::All);
}

#[tokio::test(start_paused = true)]
async fn few_write_their_status_beside_one_that_is_preferred() {
    let gate = Arc::new(PrecedenceGate::new(16));
    let mut edit = gate.enter(0, Precedence::Edit);
    let status = gate.try_begin_status(0);
    assert!(status.is_some(), "an edit holds up nobody's status");
    let mut preferred = gate.enter(0, Precedence::Preferred);
    preferred.begin_status();
    assert!(gate.try_begin_status(0).is_none(), "one writes its status");
    drop(status);
    assert!(gate.try_begin_status(0).is_none(), "one applies");
    let other_lane = gate.try_begin_status(1);
    assert!(other_lane.is_some(), "each lane has its own limit");
    edit.begin_status();
    assert_eq!(gate.eligibility(0), Eligibility::All, "they do not starve");
    let first = gate.try_begin_status(0);
    assert!(first.is_some());
    assert_eq!(gate.eligibility(0), Eligibility::Preferred, "a status counts as those that apply do");
    drop(preferred);
    assert!(gate.try_begin_status(0).is_none(), "another may follow");
    gate.changed().await;
    let second = gate.try_begin_status(0);
    assert!(second.is_some());
    drop(edit);
    assert!(gate.running.lock().by_precedence.iter().all(|class| !class.is_running()));
    assert_eq!(gate.running.lock().statuses[..2], [2, 1]);
    drop((other_lane, first, second));
    assert_eq!(gate.running.lock().statuses, [0; LANES]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_status_lets_the_next_one_apply() {
    let gate = Arc::new(PrecedenceGate::new(16));
    let _preferred = gate.enter(0, Precedence::Preferred);
    let status = gate.try_begin_status(0);
    assert!(status.is_some());
    let changed = gate.changed();
    drop(status);
    assert!(tokio::time::timeout(LINGER * 10, changed).await.is_ok(), "nobody was woken");
    assert_eq!(gate.eligibility(0), Eligibility::All);
}

#[tokio::test(start_paused = true)]
async fn the_others_pause_beside_one_that_is_preferred() {
    let (gate, used) = (Arc::new(PrecedenceGate::new(16)), Duration::from_millis(20));
    let paused = async |precedence| {
        let started = Instant::now();
        gate.pause(precedence, used).await;
        started.elapsed()
    };
    assert_eq!(paused(Precedence::Edit).await, Duration::ZERO, "nobody is preferred");
    let preferred = gate.enter(0, Precedence::Preferred);
    assert_eq!(paused(Precedence::Preferred).await, Duration::ZERO);
    assert!(paused(Precedence::Edit).await == used / 2);
    drop(preferred);
    assert!(paused(Precedence::Background).await == used / 2, "another may follow");
}
