//! Waiting for something to become true, without fixed sleeps.
use std::time::Duration;

/// Asks `probe` until it answers `Ok`; panics after `timeout` with what it saw last.
pub async fn eventually<T>(what: &str, timeout: Duration, mut probe: impl AsyncFnMut() -> Result<T, String>) -> T {
    todo!()
}
