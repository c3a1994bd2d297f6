//! Counts delivered and lost items, and decides when to log them; it sends nothing itself.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{
    api::redaction::redact,
    telemetry::{catalog::attributes::Signal, sources::open_spans::OpenSpans},
};

/// The logged length of a collector's message, in bytes.
const MAX_MESSAGE: usize = 256;
/// The minimum interval between log lines about exports.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
struct Counts {
    succeeded: AtomicU64,
    failed: AtomicU64,
    lost_full: AtomicU64,
    lost_failed: AtomicU64,
    /// The time of the last loss.
    last_loss: Mutex<Option<Instant>>,
    /// The endpoint, safe to show.
    to: OnceLock<String>,
    /// The transport's error, which the exporter does not report.
    cause: Mutex<Option<String>>,
    /// The collector's message about the last rejected items.
    rejection: Mutex<Option<String>>,
}

#[derive(Debug, Default)]
struct LogThrottle {
    last: Option<Instant>,
    /// Signals that have failed since their last success.
    down: Vec<Signal>,
    /// The losses included in the last line.
    reported: u64,
}

/// A line to log.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::telemetry) enum ExportLogLine {
    /// Exports fail.
    Failing(String),
    /// Exports work again.
    Recovered(String),
}

/// Export statistics of all signals.
#[derive(Debug, Default)]
pub(in crate::telemetry) struct ExportStats {
    /// The spans that have not ended.
    pub(in crate::telemetry) open_spans: OpenSpans,
    counts: [Counts; 3],
    throttle: Mutex<LogThrottle>,
}

impl ExportStats {
    fn of(&self, signal: Signal) -> &Counts {
        &self.counts[signal as usize]
    }

    /// Sets the endpoint of a signal, for the log line.
    pub(in crate::telemetry) fn set_endpoint(&self, signal: Signal, url: String) {
        // A signal's first exporter sets it; a second one is the console.
        let _ = self.of(signal).to.set(url);
    }

    /// Sets why the last attempt failed to connect; `None` when an attempt starts, and when the collector answers.
    pub(in crate::telemetry) fn set_cause(&self, signal: Signal, cause: Option<String>) {
        *self.of(signal).cause.lock() = cause;
    }

    /// Why the last attempt failed to connect, if it did.
    pub(in crate::telemetry) fn cause(&self, signal: Signal) -> Option<String> {
        self.of(signal).cause.lock().clone()
    }

    /// Counts items lost to a full queue.
    pub(in crate::telemetry) fn record_queue_full(&self, signal: Signal, items: u64) {
        self.of(signal).lost_full.fetch_add(items, Ordering::Relaxed);
        *self.of(signal).last_loss.lock() = Some(Instant::now());
    }

    /// Records an export that lost `lost` items to a failure. Returns a line to log, at most one per minute.
    pub(in crate::telemetry) fn record_export(
        &self,
        signal: Signal,
        lost: u64,
        failure: Option<&str>,
        now: Instant,
    ) -> Option<ExportLogLine> {
        let counts = self.of(signal);
        if failure.is_some() {
            counts.failed.fetch_add(1, Ordering::Relaxed);
            counts.lost_failed.fetch_add(lost, Ordering::Relaxed);
            *counts.last_loss.lock() = Some(now);
        } else {
            counts.succeeded.fetch_add(1, Ordering::Relaxed);
        }
        self.line(signal, failure, now)
    }

    /// Counts the items that the collector rejected from an accepted export.
    pub(in crate::telemetry) fn record_rejected(&self, signal: Signal, items: u64, message: &str) {
        let counts = self.of(signal);
        counts.lost_failed.fetch_add(items, Ordering::Relaxed);
        *counts.last_loss.lock() = Some(Instant::now());
        // It may echo the request, at any length.
        let message = redact(&message[..message.floor_char_boundary(16 * MAX_MESSAGE)]);
        let message = &message[..message.floor_char_boundary(MAX_MESSAGE)];
        *counts.rejection.lock() = Some(format!("{items} items: {message}"));
    }

    /// A line about rejected items, at most one per minute.
    pub(in crate::telemetry) fn rejection_line(&self, signal: Signal, now: Instant) -> Option<String> {
        let rejection = self.of(signal).rejection.lock().take()?;
        let (lost, to) = self.due(&mut self.throttle.lock(), signal, now)?;
        Some(format!("{signal}: {to} rejected {rejection} ({lost} items dropped since the last message)"))
    }

    /// If a line may be logged now: the losses since the last one, and the endpoint.
    fn due(&self, throttle: &mut LogThrottle, signal: Signal, now: Instant) -> Option<(u64, &str)> {
        if throttle.last.is_some_and(|last| now.saturating_duration_since(last) < LOG_INTERVAL) {
            return None;
        }
        throttle.last = Some(now);
        let total = self.total_lost();
        let lost = total - std::mem::replace(&mut throttle.reported, total);
        Some((lost, self.of(signal).to.get().map_or("the collector", String::as_str)))
    }

    fn line(&self, signal: Signal, failure: Option<&str>, now: Instant) -> Option<ExportLogLine> {
        let mut throttle = self.throttle.lock();
        let was_down = throttle.down.contains(&signal);
        if failure.is_none() && !was_down {
            return None;
        }
        if !was_down {
            throttle.down.push(signal);
        }
        let (lost, to) = self.due(&mut throttle, signal, now)?;
        let found = self.of(signal).cause.lock().take();
        Some(if let Some(failure) = failure {
            let cause = found.unwrap_or_else(|| failure.to_owned());
            ExportLogLine::Failing(format!(
                "failed to export {signal} to {to}: {cause} ({lost} items dropped since the last message)"
            ))
        } else {
            throttle.down.retain(|other| *other != signal);
            ExportLogLine::Recovered(format!(
                "exporting {signal} to {to} again ({lost} items dropped since the last message)"
            ))
        })
    }

    /// Whether items were lost within this time.
    pub(in crate::telemetry) fn has_lost_within(&self, signal: Signal, time: Duration) -> bool {
        self.of(signal).last_loss.lock().is_some_and(|at| at.elapsed() < time)
    }

    fn total_lost(&self) -> u64 {
        Signal::ALL.iter().map(|signal| self.dropped(*signal)).map(|(full, failed)| full + failed).sum()
    }

    /// The numbers of successful and failed exports.
    pub(in crate::telemetry) fn exports(&self, signal: Signal) -> (u64, u64) {
        let counts = self.of(signal);
        (counts.succeeded.load(Ordering::Relaxed), counts.failed.load(Ordering::Relaxed))
    }

    /// The items lost to a full queue, and to failed exports.
    pub(in crate::telemetry) fn dropped(&self, signal: Signal) -> (u64, u64) {
        let counts = self.of(signal);
        (counts.lost_full.load(Ordering::Relaxed), counts.lost_failed.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_collector_costs_one_line_a_minute_and_its_losses_are_counted() {
        let export_stats = ExportStats::default();
        let start = Instant::now();
        let mut lines = Vec::new();
        for second in (0..180).step_by(5) {
            let now = start + Duration::from_secs(second);
            lines.extend(export_stats.record_export(Signal::Traces, 10, Some("refused"), now));
            lines.extend(export_stats.record_export(Signal::Logs, 1, Some("refused"), now));
        }
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert_eq!(export_stats.exports(Signal::Traces), (0, 36));
        assert_eq!(export_stats.dropped(Signal::Traces), (0, 360));
        assert_eq!(export_stats.dropped(Signal::Logs), (0, 36));
    }

    #[test]
    fn rejected_items_are_lost_and_reported_once_a_minute() {
        let (export_stats, start) = (ExportStats::default(), Instant::now());
        assert_eq!(export_stats.rejection_line(Signal::Traces, start), None);
        export_stats.record_rejected(Signal::Traces, 3, "too old");
        let line = "traces: the collector rejected 3 items: too old (3 items dropped since the last message)";
        assert_eq!(export_stats.rejection_line(Signal::Traces, start).as_deref(), Some(line));
        export_stats.record_rejected(Signal::Traces, 4, "too old");
        assert_eq!(export_stats.rejection_line(Signal::Traces, start + LOG_INTERVAL / 2), None);
        assert_eq!(export_stats.dropped(Signal::Traces), (0, 7));
        // Truncating the message first could remove the `@` that marks a password.
        let message = format!("{} http://me:s3cret@host {}", "é".repeat(120), "x".repeat(9999));
        export_stats.record_rejected(Signal::Traces, 1, &message);
        let line = export_stats.rejection_line(Signal::Traces, start + LOG_INTERVAL).unwrap_or_default();
        assert!(line.contains("éé") && !line.contains("s3c") && line.len() < 400, "{line}");
    }

    #[test]
    fn recovery_is_logged_once() {
        let export_stats = ExportStats::default();
        let start = Instant::now();
        export_stats.set_endpoint(Signal::Traces, "http://c:4318".to_owned());
        export_stats.set_cause(Signal::Traces, Some("connection refused".to_owned()));
        let down = "failed to export traces to http://c:4318: connection refused \
                    (10 items dropped since the last message)";
        assert_eq!(
            export_stats.record_export(Signal::Traces, 10, Some("network error"), start),
            Some(ExportLogLine::Failing(down.to_owned()))
        );
        assert_eq!(
            export_stats.record_export(Signal::Traces, 0, None, start + Duration::from_secs(5)),
            None,
            "within the minute"
        );
        let up = export_stats.record_export(Signal::Traces, 0, None, start + Duration::from_secs(65));
        assert!(matches!(up, Some(ExportLogLine::Recovered(_))), "{up:?}");
        let later = start + Duration::from_secs(200);
        assert_eq!(export_stats.record_export(Signal::Traces, 0, None, later), None);
    }

    #[test]
    fn the_cause_of_an_earlier_attempt_is_not_that_of_a_later_failure() {
        let (export_stats, start) = (ExportStats::default(), Instant::now());
        export_stats.set_cause(Signal::Traces, Some("connection reset".to_owned()));
        export_stats.set_cause(Signal::Traces, None);
        let line = export_stats.record_export(Signal::Traces, 1, Some("HTTP status 401"), start);
        let is_right =
            matches!(&line, Some(ExportLogLine::Failing(text)) if text.contains(": HTTP status 401 ("));
        assert!(is_right, "{line:?}");
    }

    #[test]
    fn success_logs_nothing() {
        let export_stats = ExportStats::default();
        assert_eq!(export_stats.record_export(Signal::Metrics, 0, None, Instant::now()), None);
        assert_eq!(export_stats.exports(Signal::Metrics), (1, 0));
    }
}
