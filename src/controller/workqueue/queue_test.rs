//! The queue with a paused clock.
#![allow(clippy::unwrap_used)]
use super::{state::HOT_LOOP_THRESHOLD, *};

fn key(name: &str) -> ObjectKey {
    ObjectKey { namespace: "ns".into(), name: name.into() }
}

fn item(name: &str, trigger: Trigger, failures: u32) -> WorkItem {
    WorkItem { key: key(name), trigger, failures, conflicts: 0, contended: false }
}

/// The next item, if one is due now.
async fn now(queue: &WorkQueue) -> Option<WorkItem> {
    tokio::time::timeout(Duration::from_millis(1), queue.get()).await.ok()
}

fn retry(seconds: u64) -> Requeue {
    Requeue { retry_after: Some(Duration::from_secs(seconds)), ..Requeue::default() }
}

/// Corrects a child of "a" until it is contended.
async fn fight(queue: &WorkQueue) {
    for _ in 0..=HOT_LOOP_THRESHOLD {
        queue.add(key("a"), Trigger::Child);
        queue.get().await;
        queue.done(&key("a"), &Requeue { corrected_drift: true, ..Requeue::default() });
    }
}

#[tokio::test(start_paused = true)]
async fn first_come_first_served_and_each_once() {
    let queue = WorkQueue::default();
    queue.add(key("a"), Trigger::Child);
    queue.add(key("b"), Trigger::Child);
    queue.add(key("a"), Trigger::Spec);
    queue.add(key("a"), Trigger::Child);
    assert_eq!(queue.stats().depth, 2);
    assert_eq!(now(&queue).await, Some(item("a", Trigger::Spec, 0)), "the weightiest trigger names the turn");
    assert_eq!(now(&queue).await, Some(item("b", Trigger::Child, 0)));
    assert_eq!(now(&queue).await, None);
}

#[tokio::test(start_paused = true)]
async fn one_run_at_a_time() {
    let queue = WorkQueue::default();
    queue.add(key("a"), Trigger::Spec);
    now(&queue).await.unwrap();
    queue.add(key("a"), Trigger::Child);
    assert_eq!(now(&queue).await, None, "it is being worked on");
    queue.done(&key("a"), &Requeue::default());
    assert_eq!(now(&queue).await, Some(item("a", Trigger::Child, 0)));
    queue.done(&key("a"), &Requeue::default());
    assert_eq!((now(&queue).await, queue.in_flight()), (None, 0));
    assert!(queue.state.lock().entries.is_empty(), "nothing is left of it");
}

#[tokio::test(start_paused = true)]
async fn a_retry_comes_by_itself_and_counts_failures() {
    let queue = WorkQueue::default();
    queue.add(key("a"), Trigger::Spec);
    queue.get().await;
    queue.done(&key("a"), &Requeue { retry_after: Some(Duration::from_millis(5)), ..Requeue::default() });
    assert_eq!(queue.get().await, item("a", Trigger::Retry, 1));
    queue.done(&key("a"), &Requeue { retry_after: Some(Duration::from_millis(5)), ..Requeue::default() });
    assert_eq!(queue.get().await, item("a", Trigger::Retry, 2));
    queue.done(&key("a"), &Requeue::default());
    assert_eq!(now(&queue).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_child_is_acted_on_during_a_back_off_and_an_edit_ends_it() {
    let queue = WorkQueue::default();
    queue.add(key("a"), Trigger::Spec);
    queue.get().await;
    queue.done(&key("a"), &retry(3600));
    queue.add(key("a"), Trigger::Child);
    assert_eq!(now(&queue).await, Some(item("a", Trigger::Child, 1)));
    queue.done(&key("a"), &retry(3600));
    queue.add(key("a"), Trigger::Spec);
    assert_eq!(now(&queue).await, Some(item("a", Trigger::Spec, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_child_that_changes_often_does_not_make_the_pauses_longer() {
    let queue = WorkQueue::default();
    queue.add(key("a"), Trigger::Spec);
    queue.get().await;
    queue.done(&key("a"), &retry(3600));
    for _ in 0..5 {
        queue.add(key("a"), Trigger::Child);
        assert_eq!(now(&queue).await, Some(item("a", Trigger::Child, 1)));
        queue.done(&key("a"), &retry(3600));
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_wakes_it_and_the_earlier_time_wins() {
    let queue = WorkQueue::default();
    queue.add(key("a"), Trigger::Spec);
    queue.get().await;
    let soon = Instant::now() + Duration::from_millis(10);
    queue.done(&key("a"), &Requeue { requeue_at: Some(soon), ..retry(3600) });
    assert_eq!(queue.get().await.trigger, Trigger::Resync);
    assert!(Instant::now() >= soon);
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_is_forgotten() {
    let queue = WorkQueue::default();
    queue.add(key("a"), Trigger::Spec);
    queue.get().await;
    queue.remove(&key("a"));
    queue.done(&key("a"), &retry(0));
    assert_eq!(now(&queue).await, None);
    queue.add(key("b"), Trigger::Spec);
    queue.get().await;
    queue.done(&key("b"), &retry(0));
    queue.remove(&key("b"));
    assert_eq!(now(&queue).await, None);
    assert!(queue.state.lock().entries.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_fight_over_a_child_is_slowed_down_but_an_edit_is_not() {
    let queue = WorkQueue::default();
    let mut turns = 0;
    for _ in 0..20 {
        queue.add(key("a"), Trigger::Child);
        if now(&queue).await.is_none() {
            break;
        }
        turns += 1;
        queue.done(&key("a"), &Requeue { corrected_drift: true, ..Requeue::default() });
    }
    assert_eq!(turns, HOT_LOOP_THRESHOLD + 1);
    queue.add(key("a"), Trigger::Spec);
    let edited = WorkItem { contended: true, ..item("a", Trigger::Spec, 0) };
    assert_eq!(now(&queue).await, Some(edited));
}

#[tokio::test(start_paused = true)]
async fn nothing_but_an_edit_comes_before_the_time_that_the_api_server_asked_for() {
    let queue = WorkQueue::default();
    queue.add(key("a"), Trigger::Spec);
    now(&queue).await.unwrap();
    let later = Instant::now() + Duration::from_hours(1);
    queue.done(&key("a"), &Requeue { not_before: Some(later), ..retry(3600) });
    queue.add(key("a"), Trigger::Child);
    assert_eq!(now(&queue).await, None);
    queue.add(key("a"), Trigger::Spec);
    assert_eq!(now(&queue).await, Some(item("a", Trigger::Spec, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_retried_at_once_and_counts_as_no_failure() {
    let queue = WorkQueue::default();
    queue.add(key("a"), Trigger::Spec);
    queue.get().await;
    for conflicts in 1..=3 {
        queue.done(&key("a"), &Requeue { immediate: true, ..Requeue::default() });
        let start = Instant::now();
        let next = queue.get().await;
        assert_eq!((next.trigger, next.failures, next.conflicts), (Trigger::Retry, 0, conflicts));
        assert!(start.elapsed() >= retry::IMMEDIATE_DELAY);
    }
    queue.done(&key("a"), &retry(1));
    let next = queue.get().await;
    assert_eq!((next.failures, next.conflicts), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_became_due_meanwhile_waits_as_long_as_the_api_server_asked() {
    let queue = WorkQueue::default();
    queue.add(key("a"), Trigger::Spec);
    queue.get().await;
    queue.add(key("a"), Trigger::Child);
    let later = Instant::now() + Duration::from_secs(4);
    queue.done(&key("a"), &Requeue { not_before: Some(later), ..retry(4) });
    assert_eq!(now(&queue).await, None);
    assert_eq!(queue.get().await.trigger, Trigger::Child);
    assert!(Instant::now() >= later);
}

#[tokio::test(start_paused = true)]
async fn the_pauses_grow_where_a_child_changes_while_the_api_server_is_waited_for() {
    let (queue, asked) = (WorkQueue::default(), Duration::from_secs(5));
    queue.add(key("a"), Trigger::Spec);
    for failures in 0..6 {
        assert_eq!(queue.get().await.failures, failures);
        let not_before = Some(Instant::now() + asked);
        let retry_after = Some(retry::BACKOFF.delay(failures).max(asked));
        queue.done(&key("a"), &Requeue { retry_after, not_before, ..Requeue::default() });
        queue.add(key("a"), Trigger::Child);
    }
}

#[tokio::test(start_paused = true)]
async fn a_childs_change_that_was_put_off_survives_an_earlier_retry() {
    let queue = WorkQueue::default();
    fight(&queue).await;
    queue.add(key("a"), Trigger::Dependency);
    queue.get().await;
    queue.done(&key("a"), &retry(1));
    queue.add(key("a"), Trigger::Child);
    queue.add(key("a"), Trigger::Dependency);
    queue.get().await;
    queue.done(&key("a"), &Requeue::default());
    assert_eq!(queue.get().await.trigger, Trigger::Child, "it is still due");
}

#[tokio::test(start_paused = true)]
async fn another_writer_of_the_status_is_slowed_down_and_named() {
    let queue = WorkQueue::default();
    for _ in 0..=HOT_LOOP_THRESHOLD {
        queue.add(key("a"), Trigger::Resync);
        assert!(!queue.get().await.contended);
        queue.done(&key("a"), &Requeue { corrected_drift: true, ..Requeue::default() });
    }
    let start = Instant::now();
    queue.add(key("a"), Trigger::Resync);
    assert!(queue.get().await.contended);
    assert!(start.elapsed() >= Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_hot_loop_needs_no_event() {
    let queue = WorkQueue::default();
    let start = Instant::now();
    fight(&queue).await;
    queue.add(key("a"), Trigger::Child);
    assert!(queue.get().await.contended);
    queue.done(&key("a"), &Requeue::default());
    let next = tokio::time::timeout(Duration::from_hours(1), queue.get()).await.ok();
    assert_eq!(next, Some(item("a", Trigger::Resync, 0)), "no longer contended");
    assert_eq!(start.elapsed().as_secs(), 60);
    queue.done(&key("a"), &Requeue::default());
    assert!(tokio::time::timeout(Duration::from_hours(1), queue.get()).await.is_err(), "once");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_waits_is_not_added_again() {
    let mut state = QueueState::default();
    let now = Instant::now();
    assert!(state.add(key("a"), 0, now, Trigger::Child));
    assert!(!state.add(key("a"), 0, now, Trigger::Spec));
    state.pop(0, Eligibility::All, now);
    assert!(state.add(key("a"), 0, now, Trigger::Child), "it is processed, and due again");
}

#[tokio::test(start_paused = true)]
async fn a_lane_gets_what_is_due_in_it_and_nothing_else() {
    let queue = WorkQueue::default();
    for n in 0..3 {
        queue.add_to(0, key(&n.to_string()), Trigger::Spec);
    }
    queue.add_to(1, key("other"), Trigger::Resync);
    assert_eq!(queue.get_from(1, || Eligibility::All).await.0.key, key("other"));
    queue.done(&key("other"), &retry(1));
    // The other lane's worker is the one whose timer fires.
    let (other, first) = tokio::join!(queue.get_from(1, || Eligibility::All), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        queue.get_from(0, || Eligibility::All).await
    });
    assert_eq!((other.0.key, first.0.key), (key("other"), key("0")));
}
