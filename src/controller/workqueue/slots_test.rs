//! How many reconciles write a status beside those that apply, and which one is next.
#![allow(clippy::unwrap_used)]
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::*;
use crate::controller::workqueue::{
    precedence::{Eligibility, LINGER},
    shared_slots::SLOW_WRITES_PER_SLOT,
    split::{CHILDREN_FIRST, IN_STEP, Split, tests::MANY_CREATES},
};

async fn in_time<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_millis(20), future).await.ok()
}

fn slots_of_lane(count: usize) -> WorkerSlots {
    WorkerSlots::new(count, 0, Arc::new(PrecedenceGate::new(count)))
}

/// The slot of a reconcile that begins to apply.
async fn begin(slots: &WorkerSlots, precedence: Precedence) -> WorkerSlot {
    let mut slot = in_time(slots.acquire()).await.unwrap();
    slot.begin(precedence);
    slot
}

/// The next free slot for applying, if any.
async fn next(slots: &WorkerSlots) -> Option<WorkerSlot> {
    let mut slot = in_time(slots.acquire()).await?;
    slot.begin(Precedence::Normal);
    Some(slot)
}

/// The slot, if it soon gets to write its status.
async fn to_status(mut slot: WorkerSlot) -> Option<WorkerSlot> {
    in_time(slot.move_to_status("a")).await.map(|()| slot)
}

/// Like `to_status`, without a timeout.
fn spawn_to_status(mut slot: WorkerSlot, namespace: &'static str) -> JoinHandle<WorkerSlot> {
    tokio::spawn(async move {
        slot.move_to_status(namespace).await;
        slot
    })
}

#[tokio::test(start_paused = true)]
async fn what_applies_and_what_writes_a_status_share_the_slots() {
    let slots = slots_of_lane(2);
    let first = next(&slots).await.unwrap();
    let second = next(&slots).await.unwrap();
    assert!(next(&slots).await.is_none(), "both apply");
    let first = to_status(first).await.unwrap();
    assert!(next(&slots).await.is_none(), "one writes its status");
    drop(second);
    let second = next(&slots).await.unwrap();
    assert!(next(&slots).await.is_none(), "one writes its status, and one applies");
    drop((first, second));
    let _both = (next(&slots).await.unwrap(), next(&slots).await.unwrap());
    assert!(next(&slots).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_an_item_keeps_no_slot_from_statuses() {
    let slots = slots_of_lane(2);
    let (first, second) = (next(&slots).await.unwrap(), next(&slots).await.unwrap());
    let (first, second) = (spawn_to_status(first, "a"), spawn_to_status(second, "a"));
    let mut waits = in_time(slots.acquire()).await.unwrap();
    waits.wait_for_item();
    let written = (in_time(first).await.unwrap().unwrap(), in_time(second).await.unwrap().unwrap());
    waits.begin(Precedence::Normal);
    assert!(next(&slots).await.is_none(), "one more than there are slots");
    drop(written.0);
    assert!(next(&slots).await.is_none(), "it is used");
    drop(written.1);
    assert!(next(&slots).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn few_slots_are_for_statuses_while_many_wait_to_apply() {
    let slots = slots_of_lane(16);
    slots.balance(MANY_CREATES);
    let mut waiting: Vec<JoinHandle<WorkerSlot>> = Vec::new();
    for _ in 0..32 {
        waiting.push(spawn_to_status(next(&slots).await.unwrap(), "a"));
        tokio::task::yield_now().await;
    }
    let (mut applying, mut in_status) = (Vec::new(), Vec::new());
    for split in [CHILDREN_FIRST, IN_STEP, CHILDREN_FIRST] {
        slots.balance(Load { is_create: split == CHILDREN_FIRST, ..MANY_CREATES });
        // All of them end, except those that wait.
        drop((std::mem::take(&mut applying), std::mem::take(&mut in_status)));
        loop {
            let slot = next(&slots).await;
            tokio::task::yield_now().await;
            while let Some(done) = waiting.iter().position(JoinHandle::is_finished) {
                in_status.push(waiting.swap_remove(done).await.unwrap());
            }
            let Some(slot) = slot else { break };
            applying.push(slot);
        }
        let open = in_status.len() + applying.len();
        assert_eq!(Split { open, for_statuses: in_status.len() }, split);
    }
    drop(applying);
    let mut waits = in_time(slots.acquire()).await.unwrap();
    waits.wait_for_item();
    tokio::task::yield_now().await;
    let written = waiting.iter().filter(|task| task.is_finished()).count();
    assert_eq!(in_status.len() + written, 16, "any may write a status where nothing waits to apply");
}

#[tokio::test(start_paused = true)]
async fn a_status_that_hangs_keeps_no_slot_from_children() {
    let slots = slots_of_lane(1);
    let mut first = to_status(next(&slots).await.unwrap()).await.unwrap();
    let hangs = async {
        first.while_writing(tokio::time::sleep(SLOW_WRITE * 10)).await;
        drop(first);
    };
    let other = async {
        let started = tokio::time::Instant::now();
        let mut second = slots.acquire().await;
        second.begin(Precedence::Normal);
        let applied = started.elapsed();
        second.move_to_status("a").await;
        (applied, started.elapsed())
    };
    let ((), (applied, written)) = tokio::join!(hangs, other);
    assert!(applied >= SLOW_WRITE && applied < SLOW_WRITE * 2, "{applied:?}");
    assert!(written >= SLOW_WRITE * 10, "no more statuses at once than slots: {written:?}");
}

#[tokio::test(start_paused = true)]
async fn statuses_that_hang_keep_no_slot_from_other_statuses() {
    let slots = slots_of_lane(16);
    let mut hanging = Vec::new();
    for _ in 0..IN_STEP.for_statuses {
        let mut slot = to_status(next(&slots).await.unwrap()).await.unwrap();
        hanging.push(tokio::spawn(async move { slot.while_writing(std::future::pending::<()>()).await }));
    }
    let other = next(&slots).await.unwrap();
    assert!(next(&slots).await.is_some(), "children wait too");
    let other = spawn_to_status(other, "b");
    tokio::time::sleep(SLOW_WRITE * 2).await;
    assert!(other.is_finished());
    assert!(hanging.iter().all(|task| !task.is_finished()));
}

#[tokio::test(start_paused = true)]
async fn all_slots_are_for_statuses_where_nobody_acquires_one() {
    let slots = slots_of_lane(16);
    let mut waiting = Vec::new();
    for _ in 0..IN_STEP.open {
        waiting.push(spawn_to_status(next(&slots).await.unwrap(), "a"));
        tokio::task::yield_now().await;
    }
    let written =
        |waiting: &[JoinHandle<WorkerSlot>]| waiting.iter().filter(|task| task.is_finished()).count();
    assert_eq!(written(&waiting), IN_STEP.for_statuses);
    slots.set_idle();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(written(&waiting), IN_STEP.open);
}

#[tokio::test(start_paused = true)]
async fn namespaces_take_turns_to_write_statuses_and_who_gave_up_takes_none() {
    let slots = slots_of_lane(2);
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
    for _ in 0..=IN_STEP.for_statuses {
        waiting.push(spawn_to_status(begin(&slots, Precedence::Edit).await, "a"));
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
        // When one ends, all others continue.
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
    let gate = Arc::new(PrecedenceGate::new(16));
    let slots = WorkerSlots::new(16, 0, gate.clone());
    let mut preferred = begin(&slots, Precedence::Preferred).await;
    preferred.move_to_status("a").await;
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
