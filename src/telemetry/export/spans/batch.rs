//! Batches spans for the OTLP exporter. A span is encoded on the thread where it ends; the SDK's processor
//! would move it to another thread, copy it into a batch and free it there. It sends nothing itself.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc as reply,
    },
    time::Duration,
};

use opentelemetry::Context;
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{Span, SpanData, SpanProcessor},
};
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{Notify, mpsc},
    time::{Instant, MissedTickBehavior, interval_at},
};

use super::{OtlpSpanExporter, request::EncodedSpans};
use crate::telemetry::{
    config::limits::BatchConfig,
    export::{counting_exporter::CountingExporter, reloading::ReloadingExporter},
};

/// The timeout of a flush, as in the SDK.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// The exporter of the batches.
type Exporter = CountingExporter<ReloadingExporter<OtlpSpanExporter>>;

/// Passes spans to the exporter in batches. A processor in front bounds the queue.
pub(in crate::telemetry) struct OtlpBatchProcessor {
    queue: Arc<BatchQueue>,
    commands: mpsc::UnboundedSender<Command>,
    /// Present until the provider sets the resource of all spans.
    not_started: Option<BatchExport>,
    /// Runs the exports.
    runtime: Handle,
}

/// Encoded spans that wait for export: full batches, and the one being filled.
struct BatchQueue {
    batches: Mutex<VecDeque<EncodedSpans>>,
    /// The size of the last exported batch: the next one will be similar.
    last_bytes: AtomicUsize,
    batch_size: usize,
    is_full: Notify,
}

enum Command {
    Flush(reply::SyncSender<OTelSdkResult>),
    Shutdown(reply::SyncSender<OTelSdkResult>),
}

/// Takes batches from the queue and exports them.
struct BatchExport {
    exporter: Exporter,
    queue: Arc<BatchQueue>,
    commands: mpsc::UnboundedReceiver<Command>,
    delay: Duration,
}

impl OtlpBatchProcessor {
    /// Must be called inside a tokio runtime. Flush and shutdown block: do not call them on a thread of that runtime.
    pub(in crate::telemetry) fn new(exporter: Exporter, config: BatchConfig) -> Self {
        let queue = Arc::new(BatchQueue::new(config.export));
        let (commands, received) = mpsc::unbounded_channel();
        let export = BatchExport { exporter, queue: queue.clone(), commands: received, delay: config.delay };
        Self { queue, commands, not_started: Some(export), runtime: Handle::current() }
    }

    /// Sends a command and blocks until it is done.
    fn call(
        &self,
        command: fn(reply::SyncSender<OTelSdkResult>) -> Command,
        timeout: Duration,
    ) -> OTelSdkResult {
        let (sender, done) = reply::sync_channel(1);
        // If nobody receives the command, its sender is dropped.
        let _ = self.commands.send(command(sender));
        done.recv_timeout(timeout).unwrap_or_else(|error| {
            Err(match error {
                reply::RecvTimeoutError::Timeout => OTelSdkError::Timeout(timeout),
                reply::RecvTimeoutError::Disconnected => OTelSdkError::AlreadyShutdown,
            })
        })
    }
}

impl fmt::Debug for OtlpBatchProcessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtlpBatchProcessor")
            .field("batch_size", &self.queue.batch_size)
            .finish_non_exhaustive()
    }
}

impl SpanProcessor for OtlpBatchProcessor {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.queue.push(&span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.call(Command::Flush, FLUSH_TIMEOUT)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.call(Command::Shutdown, timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        if let Some(mut export) = self.not_started.take() {
            export.exporter.set_resource(resource);
            self.runtime.spawn(export.run());
        }
    }
}

impl BatchQueue {
    fn new(batch_size: usize) -> Self {
        Self {
            batches: Mutex::default(),
            last_bytes: AtomicUsize::new(0),
            batch_size,
            is_full: Notify::new(),
        }
    }

    fn push(&self, span: &SpanData) {
        let mut batches = self.batches.lock();
        let is_full = |batch: &EncodedSpans| batch.len() >= self.batch_size;
        if batches.back().is_none_or(is_full) {
            batches.push_back(EncodedSpans::with_capacity(self.last_bytes.load(Ordering::Relaxed)));
        }
        if let Some(batch) = batches.back_mut() {
            batch.push(span);
            if is_full(batch) {
                self.is_full.notify_one();
            }
        }
    }

    fn has_full(&self) -> bool {
        self.batches.lock().front().is_some_and(|batch| batch.len() >= self.batch_size)
    }

    /// The oldest batch, if it has at least this many spans.
    fn pop(&self, at_least: usize) -> Option<EncodedSpans> {
        let batch = self.batches.lock().pop_front_if(|batch| batch.len() >= at_least)?;
        self.last_bytes.store(batch.bytes(), Ordering::Relaxed);
        Some(batch)
    }
}

impl BatchExport {
    /// Exports full batches at once, and all pending spans after each delay. Runs until shutdown.
    async fn run(mut self) {
        let mut due = interval_at(Instant::now() + self.delay, self.delay);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(Command::Flush(done)) => {
                        let _ = done.send(self.export_all().await);
                    }
                    Some(Command::Shutdown(done)) => {
                        let _ = done.send(self.export_all().await);
                        return;
                    }
                    None => return,
                },
                // The exporter counts and logs failures.
                () = self.queue.is_full.notified() => {
                    let _ = self.export_next(self.queue.batch_size).await;
                    // Commands may come between two batches.
                    if self.queue.has_full() {
                        self.queue.is_full.notify_one();
                    }
                    due.reset();
                }
                _ = due.tick() => {
                    let _ = self.export_all().await;
                }
            }
        }
    }

    /// Exports all spans pending now, but none that arrive meanwhile. Returns the first error.
    async fn export_all(&self) -> OTelSdkResult {
        let waiting = self.queue.batches.lock().len();
        let mut result = Ok(());
        for _ in 0..waiting {
            result = result.and(self.export_next(1).await);
        }
        result
    }

    async fn export_next(&self, at_least: usize) -> OTelSdkResult {
        match self.queue.pop(at_least) {
            Some(batch) => self.exporter.export_encoded(batch).await,
            None => Ok(()),
        }
    }
}

impl ReloadingExporter<OtlpSpanExporter> {
    pub(in crate::telemetry) async fn export(&self, batch: EncodedSpans) -> OTelSdkResult {
        self.current().export(batch).await
    }
}

impl Exporter {
    async fn export_encoded(&self, batch: EncodedSpans) -> OTelSdkResult {
        let items = batch.len();
        self.dequeued(items);
        let result = self.inner.export(batch).await;
        // Its log lines go to stderr only, like those of the SDK's threads.
        let _suppressed = Context::enter_telemetry_suppressed_scope();
        self.record_result(items, &result);
        result
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.keep_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::export::spans::request::tests::plain;

    #[test]
    fn a_batch_has_so_many_spans_and_no_more() {
        let queue = BatchQueue::new(2);
        (0..5).for_each(|_| queue.push(&plain("a")));
        let lens = |at_least| -> Vec<usize> {
            std::iter::from_fn(|| queue.pop(at_least)).map(|batch| batch.len()).collect()
        };
        assert_eq!((lens(2), lens(2), lens(1), lens(1)), (vec![2, 2], vec![], vec![1], vec![]));
    }
}
