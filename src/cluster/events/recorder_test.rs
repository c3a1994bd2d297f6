//! Budgets and memory of the recorder; what needs an API server is tested live.
use super::*;

#[test]
fn a_budget_is_spent_and_fills_again() {
    let mut state = RecorderState::default();
    let start = Instant::now();
    let granted = (0..100).filter(|_| state.take_token("u", start)).count();
    assert_eq!(granted, SPAM_BURST as usize);
    assert!(state.take_token("other", start), "one object's budget is not another's");
    assert!(!state.take_token("u", start + SPAM_REFILL / 2));
    assert!(state.take_token("u", start + SPAM_REFILL * 2));
}

#[test]
fn what_is_untold_is_not_forgotten() {
    let mut state = RecorderState::default();
    let now = Instant::now();
    let series = |count, told| Series {
        namespace: "ns".into(),
        count,
        recorded: told,
        recorded_at: now,
        last: Timestamp::now(),
        last_trace: None,
    };
    state.series.insert("told".into(), series(3, 3));
    state.series.insert("untold".into(), series(3, 2));
    state.gc(now + SERIES_TTL * 2);
    assert_eq!(state.series.keys().collect::<Vec<_>>(), ["untold"]);
}
