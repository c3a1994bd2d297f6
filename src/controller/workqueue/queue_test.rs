//! The queue against the clock.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::controller::workqueue::state::HOT_LOOP_THRESHOLD;

fn key(name: &str) -> ObjectKey {
    ObjectKey { namespace: "ns".into(), name: name.into() }
}

fn item(name: &str, trigger: Trigger, failures: u32) -> WorkItem {
    WorkItem { key: key(name), trigger, failures }
}

/// The next turn, or nothing when none is due now.
async fn now(queue: &WorkQueue) -> Option<WorkItem> {
    tokio::time::timeout(Duration::from_millis(1), queue.get()).await.ok()
}

fn retry(seconds: u64) -> Requeue {
    Requeue { retry_after: Some(Duration::from_secs(seconds)), ..Requeue::default() }
}

#[tokio::test]
async fn first_come_first_served_and_each_once() {
    let queue = WorkQueue::default();
    queue.add(key("a"), Trigger::Resync);
    queue.add(key("b"), Trigger::Child);
    queue.add(key("a"), Trigger::Spec);
    queue.add(key("a"), Trigger::Child);
    assert_eq!(queue.stats().depth, 2);
    assert_eq!(now(&queue).await, Some(item("a", Trigger::Spec, 0)), "the weightiest trigger names the turn");
    assert_eq!(now(&queue).await, Some(item("b", Trigger::Child, 0)));
    assert_eq!(now(&queue).await, None);
}

#[tokio::test]
async fn one_run_at_a_time() {
    let queue = WorkQueue::default();
    queue.add(key("a"), Trigger::Spec);
    now(&queue).await.unwrap();
    queue.add(key("a"), Trigger::Child);
    assert_eq!(now(&queue).await, None, "it is being worked on");
    queue.done(&key("a"), &Requeue::default());
    assert_eq!(now(&queue).await, Some(item("a", Trigger::Child, 0)));
    queue.done(&key("a"), &Requeue::default());
    assert_eq!((now(&queue).await, queue.pending()), (None, 0));
    assert!(queue.lock().entries.is_empty(), "nothing is left of it");
}

#[tokio::test]
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

#[tokio::test]
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

#[tokio::test]
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

#[tokio::test]
async fn the_deadline_wakes_it_and_the_earlier_time_wins() {
    let queue = WorkQueue::default();
    queue.add(key("a"), Trigger::Spec);
    queue.get().await;
    let soon = Instant::now() + Duration::from_millis(10);
    queue.done(&key("a"), &Requeue { resync_at: Some(soon), ..retry(3600) });
    assert_eq!(queue.get().await.trigger, Trigger::Resync);
    assert!(Instant::now() >= soon);
}

#[tokio::test]
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
    assert!(queue.lock().entries.is_empty());
}

#[tokio::test]
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
    assert_eq!(now(&queue).await, Some(item("a", Trigger::Spec, 0)));
}

#[tokio::test]
async fn the_echo_of_our_own_write_is_no_news_even_when_it_comes_before_the_answer() {
    let queue = WorkQueue::default();
    queue.add(key("a"), Trigger::Spec);
    now(&queue).await.unwrap();
    queue.tell(key("a"), Trigger::Child, Some(7));
    queue.done(&key("a"), &Requeue { wrote: vec![7, 8], ..Requeue::default() });
    assert_eq!(now(&queue).await, None);

    queue.add(key("a"), Trigger::Spec);
    now(&queue).await.unwrap();
    queue.tell(key("a"), Trigger::Child, Some(9));
    queue.tell(key("a"), Trigger::Child, Some(10));
    queue.done(&key("a"), &Requeue { wrote: vec![9], ..Requeue::default() });
    assert_eq!(now(&queue).await, Some(item("a", Trigger::Child, 0)), "10 was somebody else's");
    queue.tell(key("a"), Trigger::Child, Some(11));
    queue.add(key("a"), Trigger::Dependency);
    queue.done(&key("a"), &Requeue { wrote: vec![11], ..Requeue::default() });
    assert_eq!(now(&queue).await, Some(item("a", Trigger::Dependency, 0)));
}

#[tokio::test]
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
