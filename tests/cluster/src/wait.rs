//! Polls until a condition holds, instead of sleeping for a fixed time; a timeout reports what was observed
//! last.

use std::{
    fmt::Display,
    panic::Location,
    time::{Duration, Instant},
};

use kube::{Api, core::DynamicObject};

/// The longest delay between two polls.
const MAX_DELAY: Duration = Duration::from_millis(100);

/// Polls `probe` until it returns `Ok`.
///
/// It polls after 5 ms at first, and ten times a second later. One poll runs to its end after `timeout`, so
/// that a slow probe does not fail on a busy machine.
///
/// # Panics
/// After `timeout`, with `what`, the caller's location, and the last error of `probe`.
#[track_caller]
pub fn eventually<T, E: Display, P: AsyncFnMut() -> Result<T, E>>(
    what: &str,
    timeout: Duration,
    mut probe: P,
) -> impl Future<Output = T> {
    let location = Location::caller();
    async move {
        let start = Instant::now();
        let mut delay = Duration::from_millis(5);
        loop {
            let is_last = start.elapsed() > timeout;
            match probe().await {
                Ok(value) => return value,
                Err(error) => {
                    assert!(!is_last, "{what}: not within {timeout:?} ({location})\nlast error: {error}");
                }
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(MAX_DELAY);
        }
    }
}

/// Waits until an object exists that is as `wanted` says.
///
/// # Panics
/// After `timeout`, with the object as it was last.
pub async fn wait_for_object(
    api: &Api<DynamicObject>,
    name: &str,
    what: &str,
    timeout: Duration,
    wanted: impl Fn(&DynamicObject) -> bool,
) -> DynamicObject {
    eventually(&format!("{name}: {what}"), timeout, async || {
        match api.get_opt(name).await.map_err(|error| error.to_string())? {
            Some(object) if wanted(&object) => Ok(object),
            Some(object) => Err(serde_json::to_string_pretty(&object).unwrap_or_default()),
            None => Err("not there".to_owned()),
        }
    })
    .await
}

/// Waits until an object is deleted.
///
/// # Panics
/// After `timeout`, with the object's metadata.
pub async fn wait_until_deleted(api: &Api<DynamicObject>, name: &str, timeout: Duration) {
    eventually(&format!("{name} is gone"), timeout, async || {
        match api.get_opt(name).await.map_err(|error| error.to_string())? {
            None => Ok(()),
            Some(object) => Err(serde_json::to_string_pretty(&object.metadata).unwrap_or_default()),
        }
    })
    .await;
}
