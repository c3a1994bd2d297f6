//! How many report beside those that apply, and who is next.
#![allow(clippy::unwrap_used)]
use super::*;

async fn in_time<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_millis(20), future).await.ok()
}

fn slots_of_lane(count: usize) -> WorkerSlots {
    WorkerSlots::new(count, 0, Arc::new(PrecedenceGate::new(count)))
}

async fn next(slots: &WorkerSlots) -> Option<WorkerSlot> {
    in_time(slots.acquire()).await
}

/// The slot, if it is soon one of those that report.
async fn report(mut slot: WorkerSlot) -> Option<WorkerSlot> {
    in_time(slot.move_to_reporting("a")).await.map(|()| slot)
}

#[tokio::test(start_paused = true)]
async fn reporting_frees_a_slot_for_applying() {
    let slots = slots_of_lane(1);
    let first = next(&slots).await.unwrap();
    assert!(next(&slots).await.is_none(), "all slots are taken");
    let first = report(first).await.unwrap();
    let mut second = next(&slots).await.unwrap();
    assert!(in_time(second.move_to_reporting("a")).await.is_none(), "as many report as apply");
    drop(first);
    assert!(report(second).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn few_report_while_many_wait_to_apply() {
    let slots = slots_of_lane(16);
    let report_all = async |reporting: &mut Vec<WorkerSlot>| {
        while let Some(slot) = report(next(&slots).await.unwrap()).await {
            reporting.push(slot);
        }
        reporting.len()
    };
    let mut reporting = Vec::new();
    slots.balance(16 * MANY_PER_SLOT);
    assert_eq!(report_all(&mut reporting).await, REPORTING_BESIDE_APPLYING);
    slots.balance(16 * MANY_PER_SLOT - 1);
    assert_eq!(report_all(&mut reporting).await, 16);
    slots.balance(16 * MANY_PER_SLOT);
    reporting.truncate(REPORTING_BESIDE_APPLYING);
    assert_eq!(
        report_all(&mut reporting).await,
        REPORTING_BESIDE_APPLYING,
        "what is free again stays closed"
    );
}

#[tokio::test(start_paused = true)]
async fn namespaces_take_turns_to_report_and_who_gave_up_takes_none() {
    let slots = slots_of_lane(1);
    let first = report(next(&slots).await.unwrap()).await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    for namespace in ["a", "a", "gone", "a", "b"] {
        let mut slot = next(&slots).await.unwrap();
        if namespace == "gone" {
            assert!(in_time(slot.move_to_reporting(namespace)).await.is_none());
            continue;
        }
        let order = order.clone();
        waiting.push(tokio::spawn(async move {
            slot.move_to_reporting(namespace).await;
            order.lock().push(namespace);
        }));
        tokio::task::yield_now().await;
    }
    drop(first);
    futures::future::join_all(waiting).await;
    assert_eq!(*order.lock(), ["a", "b", "a", "a"]);
    assert!(report(next(&slots).await.unwrap()).await.is_some(), "all slots are free");
}

#[tokio::test(start_paused = true)]
async fn a_childs_write_that_hangs_keeps_no_slot() {
    let slots = slots_of_lane(1);
    let mut first = next(&slots).await.unwrap();
    let hangs = first.while_applying(tokio::time::sleep(SLOW_WRITE * 10));
    let other = async {
        let started = tokio::time::Instant::now();
        let _second = slots.acquire().await;
        started.elapsed()
    };
    let ((), waited) = tokio::join!(hangs, other);
    assert!(waited >= SLOW_WRITE && waited < SLOW_WRITE * 2, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn few_report_beside_one_that_is_preferred_and_all_do_after_it() {
    let slots = slots_of_lane(16);
    let begin = async |precedence| {
        let mut slot = next(&slots).await.unwrap();
        slot.begin(precedence);
        slot
    };
    let preferred = report(begin(Precedence::Preferred).await).await.unwrap();
    let mut reporting = Vec::new();
    let mut waiting = Vec::new();
    for _ in 0..9 {
        let mut slot = begin(Precedence::Edit).await;
        waiting.push(tokio::spawn(async move {
            slot.move_to_reporting("a").await;
            slot
        }));
        tokio::task::yield_now().await;
    }
    for task in waiting.drain(..2) {
        reporting.push(in_time(task).await.unwrap().unwrap());
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(waiting.iter().all(|task| !task.is_finished()));
    assert!(report(begin(Precedence::Preferred).await).await.is_some(), "it waits for none of them");
    drop(preferred);
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(reporting.pop());
    for task in waiting {
        // The end of one lets all go on.
        reporting.push(in_time(task).await.unwrap().unwrap());
    }
}
