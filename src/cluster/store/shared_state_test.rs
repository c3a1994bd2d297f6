//! What the watches of a process share, with tokio's paused clock.

use super::*;

fn watch(resource: &'static str, scope: &str) -> WatchTarget {
    WatchTarget { role: WatchRole::Own, resource, scope: scope.to_owned() }
}

fn child_watch(resource: &'static str, scope: &str) -> WatchTarget {
    WatchTarget { role: WatchRole::Child, ..watch(resource, scope) }
}

#[test]
fn a_namespace_that_is_refused_as_a_whole_is_named_once() {
    let state = SharedWatchState::default();
    let own = ["ElpioService", "ElpioFunction"];
    for resource in ["ElpioService", "ElpioFunction", "Deployment"] {
        state.record_refused(&watch(resource, "team-b"), "no");
    }
    state.record_refused(&watch("TaskRun", "team-a"), "no");
    assert_eq!(
        state.not_watched(&own),
        ["TaskRun in namespace team-a: forbidden", "namespace team-b: forbidden"]
    );
    assert_eq!(state.refused_watches(), [("team-a".to_owned(), 1), ("team-b".to_owned(), 3)]);
    state.record_working(&watch("ElpioService", "team-b"));
    assert_eq!(state.not_watched(&own).len(), 3);
    for resource in ["ElpioFunction", "Deployment"] {
        state.record_working(&watch(resource, "team-b"));
    }
    state.record_working(&watch("TaskRun", "team-a"));
    assert_eq!(state.not_watched(&own), [""; 0]);
    assert!(state.refused_watches().iter().all(|(_, count)| *count == 0));
}

#[test]
fn a_namespace_is_lost_when_its_refusal_has_lasted() {
    let state = SharedWatchState::default();
    for (resource, scope) in [("ElpioService", "team-a"), ("TaskRun", "team-b"), ("ElpioService", "")] {
        state.record_refused(&watch(resource, scope), "no");
    }
    let lost = |age| state.refused_for("ElpioService", age);
    assert_eq!(state.refused_namespaces("ElpioService"), [""; 0]);
    assert_eq!(lost(Duration::ZERO), ["team-a"], "one watch of all namespaces says nothing of any");
    let lasts = Duration::from_millis(5);
    while lost(lasts).is_empty() {
        state.record_refused(&watch("ElpioService", "team-a"), "no, again");
        std::thread::yield_now();
    }
    state.record_working(&watch("ElpioService", "team-a"));
    assert_eq!(lost(Duration::ZERO), [""; 0]);
}

#[test]
fn a_watch_is_current_where_it_brought_something_just_now() {
    let state = SharedWatchState::default();
    let (second, now) = (Duration::from_secs(1), Instant::now());
    let is_current = |resource, namespace| state.is_current(resource, namespace, second);
    assert!(!is_current("ElpioService", "team-a"), "nothing has come");
    state.record_event(&watch("ElpioService", "team-a"), now);
    assert!(is_current("ElpioService", "team-a"));
    assert!(!is_current("ElpioService", "team-b") && !is_current("ElpioFunction", "team-a"));
    let before = now.checked_sub(second * 2).unwrap_or(now);
    state.record_event(&watch("ElpioService", "team-a"), before);
    assert!(!is_current("ElpioService", "team-a"), "silent for two seconds");
    state.record_event(&watch("ElpioService", ""), now);
    assert!(is_current("ElpioService", "team-a"), "one watch of all namespaces");
}

#[test]
fn the_watch_of_children_of_a_kind_is_not_that_of_the_kind() {
    let state = SharedWatchState::default();
    let kind = "ElpioService";
    let (own, children) = (watch(kind, "team-a"), child_watch(kind, "team-a"));
    state.record_event(&children, Instant::now());
    assert!(!state.is_current(kind, "team-a", Duration::from_secs(1)));

    state.record_failing(&own, "no answer");
    state.record_working(&children);
    assert_eq!(state.failing.lock().iter().collect::<Vec<_>>(), [&own]);

    state.record_refused(&children, "no");
    assert_eq!(state.not_watched(&[kind]), ["ElpioService in namespace team-a: forbidden"], "not as a whole");
    state.record_refused(&own, "no");
    state.record_working(&children);
    assert_eq!(state.not_watched(&[kind]), ["namespace team-a: forbidden"]);
    assert_eq!(state.refused_watches(), [("team-a".to_owned(), 1)]);
}

#[test]
fn a_kind_of_which_two_watches_are_refused_is_named_once() {
    let state = SharedWatchState::default();
    let kind = "ElpioService";
    for watch in [watch(kind, ""), child_watch(kind, "")] {
        state.record_refused(&watch, "no");
    }
    assert_eq!(state.not_watched(&[kind]), ["ElpioService: forbidden"]);
    assert_eq!(state.refused_watches(), [("all".to_owned(), 2)]);
}

#[tokio::test]
async fn one_answer_wakes_all_that_wait_for_it() {
    let state = SharedWatchState::default();
    let signal = state.reachable.subscribe();
    let begun = tokio::time::Instant::now();
    let waiting = state.wait_until_reachable(Duration::from_secs(30), signal.clone());
    let answered = async {
        tokio::task::yield_now().await;
        state.answered();
    };
    tokio::join!(waiting, answered);
    assert!(begun.elapsed() < PROBE_INTERVAL / 2, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn one_of_all_probes_each_second() {
    let state = SharedWatchState::default();
    let begun = tokio::time::Instant::now();
    let wait = || state.wait_until_reachable(Duration::from_secs(30), state.reachable.subscribe());
    tokio::join!(wait(), wait());
    let took = begun.elapsed();
    assert!(took >= PROBE_INTERVAL * 3 / 2, "two turns, one after the other: {took:?}");
    assert!(took <= PROBE_INTERVAL * 4, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_shortens_the_pause_after_an_error_but_not_what_the_api_server_asks_for() {
    let (pause, state) = (Duration::from_secs(30), SharedWatchState::default());
    for (retry_after, least) in
        [(Duration::ZERO, MIN_PAUSE_AFTER_ERROR), (Duration::from_secs(4), Duration::from_secs(4))]
    {
        let signal = state.reachable.subscribe();
        state.reachable.send();
        let begun = tokio::time::Instant::now();
        state.wait_after_error(pause, retry_after, signal).await;
        let took = begun.elapsed();
        assert!((least..2 * least).contains(&took), "{took:?} where it asks for {retry_after:?}");
    }
}

#[tokio::test]
async fn a_signal_during_the_attempt_is_not_lost() {
    let signal = Broadcast::default();
    let seen = signal.subscribe();
    signal.send();
    assert!(SharedWatchState::wait_for(Duration::from_secs(30), seen).await);
}

#[test]
fn watches_of_absent_apis_start_to_poll_once_crds_are_not_watched() {
    let state = SharedWatchState::default();
    let signal = state.crd_change("DomainMapping");
    for (watched, polls) in [(false, false), (true, false), (false, true)] {
        state.set_crds_watched(watched);
        assert_eq!(signal.has_changed().ok(), Some(polls), "{watched}");
    }
}
