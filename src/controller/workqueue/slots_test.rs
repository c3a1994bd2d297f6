//! How many write their status beside those that apply, and who is next.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::controller::workqueue::precedence::{Eligibility, LINGER};

async fn in_time<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_millis(20), future).await.ok()
}

fn slots_of_lane(count: usize) -> WorkerSlots {
    WorkerSlots::new(count, 0, Arc::new(PrecedenceGate::new(count)))
}

async fn next(slots: &WorkerSlots) -> Option<WorkerSlot> {
    in_time(slots.acquire()).await
}

/// The slot of one that begins to apply.
async fn begin(slots: &WorkerSlots, precedence: Precedence) -> WorkerSlot {
    let mut slot = next(slots).await.unwrap();
    slot.begin(precedence);
    slot
}

/// The slot, if it is soon one of those that write their status.
async fn to_status(mut slot: WorkerSlot) -> Option<WorkerSlot> {
    in_time(slot.move_to_status("a")).await.map(|()| slot)
}

#[tokio::test(start_paused = true)]
async fn a_status_frees_a_slot_for_applying() {
    let slots = slots_of_lane(1);
    let first = next(&slots).await.unwrap();
    assert!(next(&slots).await.is_none(), "all slots are taken");
    let first = to_status(first).await.unwrap();
    let mut second = next(&slots).await.unwrap();
    assert!(in_time(second.move_to_status("a")).await.is_none(), "as many write statuses as apply");
    drop(first);
    assert!(to_status(second).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn few_statuses_while_many_wait_to_apply() {
    let slots = slots_of_lane(16);
    let all_to_status = async |in_status: &mut Vec<WorkerSlot>| {
        while let Some(slot) = to_status(next(&slots).await.unwrap()).await {
            in_status.push(slot);
        }
        in_status.len()
    };
    let mut in_status = Vec::new();
    slots.balance(16 * MANY_PER_SLOT);
    assert_eq!(all_to_status(&mut in_status).await, STATUSES_BESIDE_APPLYING);
    slots.balance(16 * MANY_PER_SLOT - 1);
    assert_eq!(all_to_status(&mut in_status).await, 16);
    slots.balance(16 * MANY_PER_SLOT);
    in_status.truncate(STATUSES_BESIDE_APPLYING);
    assert_eq!(
        all_to_status(&mut in_status).await,
        STATUSES_BESIDE_APPLYING,
        "what is free again stays closed"
    );
}

#[tokio::test(start_paused = true)]
async fn namespaces_take_turns_to_write_statuses_and_who_gave_up_takes_none() {
    let slots = slots_of_lane(1);
    let first = to_status(next(&slots).await.unwrap()).await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    for namespace in ["a", "a", "gone", "a", "b"] {
        let mut slot = next(&slots).await.unwrap();
        if namespace == "gone" {
            assert!(in_time(slot.move_to_status(namespace)).await.is_none());
            continue;
        }
        let order = order.clone();
        waiting.push(tokio::spawn(async move {
            slot.move_to_status(namespace).await;
            order.lock().push(namespace);
        }));
        tokio::task::yield_now().await;
    }
    drop(first);
    futures::future::join_all(waiting).await;
    assert_eq!(*order.lock(), ["a", "b", "a", "a"]);
    assert!(to_status(next(&slots).await.unwrap()).await.is_some(), "all slots are free");
}

#[tokio::test(start_paused = true)]
async fn a_childs_write_that_hangs_keeps_no_slot() {
    let slots = slots_of_lane(1);
    let mut first = next(&slots).await.unwrap();
    let hangs = first.while_writing(tokio::time::sleep(SLOW_WRITE * 10));
    let other = async {
        let started = tokio::time::Instant::now();
        let _second = slots.acquire().await;
        started.elapsed()
    };
    let ((), waited) = tokio::join!(hangs, other);
    assert!(waited >= SLOW_WRITE && waited < SLOW_WRITE * 2, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn writes_that_hang_give_up_no_more_slots_than_the_bound() {
    let slots = slots_of_lane(1);
    let hang = |mut slot: WorkerSlot| {
        tokio::spawn(async move { slot.while_writing(tokio::time::sleep(SLOW_WRITE * 30)).await })
    };
    for _ in 0..SLOW_WRITES_PER_SLOT {
        drop(hang(next(&slots).await.unwrap()));
        tokio::time::sleep(SLOW_WRITE).await;
    }
    let last = hang(next(&slots).await.unwrap());
    let waited = tokio::time::Instant::now();
    let free = slots.acquire().await;
    assert!(waited.elapsed() > SLOW_WRITE * 15, "until one of them ended, not {:?}", waited.elapsed());
    assert!(!last.is_finished(), "it goes on without a slot");
    drop(free);
}

#[tokio::test(start_paused = true)]
async fn few_statuses_beside_one_that_is_preferred_and_all_do_after_it() {
    let slots = slots_of_lane(16);
    let preferred = to_status(begin(&slots, Precedence::Preferred).await).await.unwrap();
    let mut in_status = Vec::new();
    let mut waiting = Vec::new();
    for _ in 0..9 {
        let mut slot = begin(&slots, Precedence::Edit).await;
        waiting.push(tokio::spawn(async move {
            slot.move_to_status("a").await;
            slot
        }));
        tokio::task::yield_now().await;
    }
    in_status.push(in_time(waiting.remove(0)).await.unwrap().unwrap());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(waiting.iter().all(|task| !task.is_finished()));
    assert!(
        to_status(begin(&slots, Precedence::Preferred).await).await.is_some(),
        "it waits for none of them"
    );
    drop(preferred);
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(in_status.pop());
    for task in waiting {
        // The end of one lets all go on.
        in_status.push(in_time(task).await.unwrap().unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn beside_one_that_is_preferred_who_ends_or_hangs_lets_the_next_status_be_written() {
    for (ends_after, expected) in [(Duration::ZERO, SLOW_WRITE), (SLOW_WRITE * 2, SLOW_WRITE * 2)] {
        let slots = slots_of_lane(16);
        let _preferred = to_status(begin(&slots, Precedence::Preferred).await).await.unwrap();
        let (ends, mut hangs) =
            (begin(&slots, Precedence::Edit).await, begin(&slots, Precedence::Edit).await);
        let mut waits = begin(&slots, Precedence::Edit).await;
        let hanging = hangs.while_writing(tokio::time::sleep(SLOW_WRITE * 10));
        let ending = async {
            tokio::time::sleep(ends_after).await;
            drop(ends);
        };
        let waiting = async {
            let started = tokio::time::Instant::now();
            let _ = tokio::time::timeout(SLOW_WRITE * 9, waits.move_to_status("a")).await;
            started.elapsed()
        };
        let ((), (), waited) = tokio::join!(hanging, ending, waiting);
        assert!(waited >= expected && waited < expected + SLOW_WRITE, "{waited:?} after {ends_after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_status_that_hangs_goes_before_the_others_for_a_second_and_then_lingers() {
    let slots = slots_of_lane(16);
    let mut preferred = begin(&slots, Precedence::Preferred).await;
    preferred.move_to_status("a").await;
    let gate = slots.status.gate.clone();
    let _other = gate.enter(0, Precedence::Edit);
    let limited = async || {
        let started = tokio::time::Instant::now();
        while gate.eligibility(0) == Eligibility::Preferred && started.elapsed() < SLOW_WRITE * 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        started.elapsed()
    };
    let ((), limited) = tokio::join!(preferred.while_writing(tokio::time::sleep(SLOW_WRITE * 10)), limited());
    let expected = SLOW_WRITE + LINGER;
    assert!(limited >= expected && limited < expected + SLOW_WRITE / 10, "{limited:?}");
}
