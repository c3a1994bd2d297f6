//! When to retry an export (OTLP specification, "Failures"); it sends nothing itself.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::backoff::{ExponentialBackoff, jittered};

const BACKOFF: ExponentialBackoff =
    ExponentialBackoff::new(Duration::from_millis(100), Duration::from_millis(400));

const MAX_RETRIES: u32 = 3;

/// The longest pause that a collector may impose: it delays the following exports too.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Whether and when to retry a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// Never: it would fail again.
    Never,
    /// After a back-off.
    Backoff,
    /// After the pause that the collector requests.
    After(Duration),
}

/// A failed attempt.
#[derive(Debug)]
pub(super) struct FailedAttempt {
    /// Without the message of the collector's status: it may echo a header.
    pub(super) message: String,
    pub(super) retry: Retry,
}

/// Retries until an attempt succeeds or fails permanently, or the next one would start after `timeout`.
/// Abandons an attempt that still runs then.
pub(super) async fn with_retries<T, F>(timeout: Duration, mut attempt: impl FnMut() -> F) -> Result<T, String>
where
    F: Future<Output = Result<T, FailedAttempt>>,
{
    let started = Instant::now();
    let (mut failures, mut last) = (0, None);
    loop {
        // tonic's timeout covers only the response's headers; this one covers the message and the trailers too.
        let remaining = timeout.saturating_sub(started.elapsed());
        let failed = match tokio::time::timeout(remaining, attempt()).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(failed)) => failed,
            Err(_) => return Err(last.unwrap_or_else(|| format!("no response within {timeout:?}"))),
        };
        let pause = match failed.retry {
            Retry::Never => return Err(failed.message),
            Retry::Backoff => BACKOFF.jittered(failures),
            Retry::After(pause) => jittered(pause.min(MAX_PAUSE)).max(BACKOFF.jittered(failures)),
        };
        failures += 1;
        if failures > MAX_RETRIES || started.elapsed().saturating_add(pause) >= timeout {
            return Err(failed.message);
        }
        sleep(pause).await;
        last = Some(failed.message);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures::future::Either;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    /// Runs attempts with these results; the last one repeats. Returns their start times and the final result.
    async fn attempts(ways: &[Result<(), Retry>]) -> (Vec<Duration>, Result<(), String>) {
        let (started, mut began) = (Instant::now(), Vec::new());
        let attempt = || {
            began.push(started.elapsed());
            let way = ways.get(began.len() - 1).or(ways.last()).unwrap();
            let message = format!("attempt {}", began.len());
            std::future::ready(way.map_err(|retry| FailedAttempt { message, retry }))
        };
        let result = with_retries(TIMEOUT, attempt).await;
        (began, result)
    }

    #[tokio::test(start_paused = true)]
    async fn a_retryable_failure_is_tried_four_times_with_growing_pauses() {
        let (began, result) = attempts(&[Err(Retry::Backoff)]).await;
        assert_eq!(result, Err("attempt 4".to_owned()));
        let pauses: Vec<Duration> = began.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
        assert_eq!(pauses.len(), 3, "{pauses:?}");
        for (pause, least) in pauses.iter().zip([100, 200, 400].map(Duration::from_millis)) {
            assert!((least..=least * 3 / 2).contains(pause), "{pauses:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn success_and_what_cannot_pass_end_the_attempts() {
        assert_eq!(attempts(&[Ok(())]).await.0.len(), 1);
        let (began, result) = attempts(&[Err(Retry::Backoff), Ok(())]).await;
        assert_eq!((began.len(), result), (2, Ok(())));
        let (began, result) = attempts(&[Err(Retry::Backoff), Err(Retry::Never)]).await;
        assert_eq!((began.len(), result), (2, Err("attempt 2".to_owned())));
    }

    #[tokio::test(start_paused = true)]
    async fn the_collectors_retry_delay_is_kept_if_the_timeout_allows() {
        let asked = |seconds| Err(Retry::After(Duration::from_secs(seconds)));
        let (began, result) = attempts(&[asked(3), Ok(())]).await;
        assert_eq!(result, Ok(()));
        assert!((3.0..=3.75).contains(&began[1].as_secs_f64()), "{began:?}");
        let (began, result) = attempts(&[asked(11), Ok(())]).await;
        assert_eq!((began.len(), result), (1, Err("attempt 1".to_owned())));
        let (began, _) = attempts(&[asked(0)]).await;
        assert_eq!(began.len(), 4, "a pause of 0 is no hurry: {began:?}");
        assert!(began[1] >= Duration::from_millis(100), "{began:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_without_end_is_given_up() {
        let started = Instant::now();
        let result = with_retries::<(), _>(TIMEOUT, std::future::pending).await;
        assert_eq!(result, Err("no response within 10s".to_owned()));
        assert_eq!(started.elapsed(), TIMEOUT);
        let mut first = Some(FailedAttempt { message: "busy".to_owned(), retry: Retry::Backoff });
        let attempt = || match first.take() {
            Some(failed) => Either::Left(std::future::ready(Err::<(), _>(failed))),
            None => Either::Right(std::future::pending()),
        };
        let result = with_retries(TIMEOUT, attempt).await;
        assert_eq!(result, Err("busy".to_owned()), "it tells more");
    }
}
