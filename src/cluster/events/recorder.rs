//! Publishes Events: one object per (object, generation, type, reason, action, related), counted as a series.
//! It never fails a reconcile, and writes nothing while another replica leads.
//!
//! [`Recorder::publish`] tries once; [`Recorder::run`] makes the waiting calls and retries failed ones. The
//! API server lets an update change only metadata and `series`.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use k8s_openapi::{api::events::v1::Event, apimachinery::pkg::apis::meta::v1::MicroTime};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    core::request,
};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    api::{
        annotation,
        event::{EventReason, EventType, NewEvent},
    },
    backoff::ExponentialBackoff,
    cluster::{
        ObjectKey,
        client::call::{ApiCall, ApiError, call_with_timeout},
        clock::now,
        events::{
            object::{EventCount, alternative_name, build_event, found_event, truncate},
            queue::{ActiveReconcileGuard, CallSlot, EventQueue},
            request::send,
            state::RecorderState,
            write::{EventWrite, EventWriteResult, NextStep, PendingEvent, PublishAction},
        },
    },
    telemetry::{CallingReconcile, ErrorType, EventOutcome, Metrics, Traces, current_ids},
};

pub use crate::cluster::events::{object::Regarding, series::SERIES_UPDATE_INTERVAL};

/// How long [`Recorder::flush`] tries, and its back-off.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(2500);
const FLUSH_BACKOFF: ExponentialBackoff = ExponentialBackoff::new(Duration::from_millis(100), FLUSH_TIMEOUT);

/// Publishes Events.
#[derive(Clone)]
pub struct Recorder(pub(super) Arc<RecorderParts>);

pub(super) struct RecorderParts {
    pub(super) client: Client,
    instance: String,
    metrics: Metrics,
    traces: Traces,
    pub(super) state: Mutex<RecorderState>,
    pub(super) queue: EventQueue,
    leading: OnceLock<Mutex<watch::Receiver<bool>>>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("instance", &self.0.instance).finish_non_exhaustive()
    }
}

impl Recorder {
    /// A recorder that reports as `instance` (the pod's name).
    #[must_use]
    pub fn new(client: Client, instance: &str, metrics: Metrics, traces: Traces) -> Self {
        let instance = truncate(instance, 128).to_owned();
        Self(Arc::new(RecorderParts {
            client,
            instance,
            metrics,
            traces,
            state: Mutex::default(),
            queue: EventQueue::default(),
            leading: OnceLock::new(),
        }))
    }

    /// From now on, writes only while this replica leads. On losing the lead it drops unwritten Events and
    /// counts them as failed: the next leader republishes recent transitions, but no older ones. Only the
    /// first call has an effect.
    pub fn require_leadership(&self, leading: watch::Receiver<bool>) {
        let _ = self.0.leading.set(Mutex::new(leading));
    }

    /// I/O: publishes one occurrence, with one attempt.
    pub async fn publish(&self, regarding: &Regarding, event: &NewEvent) {
        if let Some(name) = self.0.add(regarding, event) {
            self.0.write(&name).await;
        }
    }

    /// Queues one occurrence for [`Recorder::run`].
    pub fn enqueue(&self, regarding: &Regarding, event: &NewEvent) {
        if let Some(name) = self.0.add(regarding, event) {
            self.0.queue.push(ObjectKey { namespace: regarding.object.namespace.clone(), name });
        }
    }

    /// Marks a reconcile as running until the guard is dropped: its writes go before Events.
    #[must_use]
    pub fn begin_reconcile(&self) -> ActiveReconcileGuard {
        self.0.queue.begin_reconcile()
    }

    /// Writes few Events for this long, because a more urgent reconcile runs.
    pub fn hold(&self, time: Duration) {
        self.0.queue.hold(time);
    }

    /// I/O: writes every series with unwritten occurrences, as at shutdown. Drops those that it cannot write
    /// in time.
    pub async fn flush(&self) {
        let inner = &*self.0;
        let written = async {
            for failures in 0.. {
                let unwritten = inner.state.lock().unwritten();
                for event in unwritten {
                    inner.queue.push(event);
                }
                inner.write_all().await;
                if inner.state.lock().unwritten().is_empty() {
                    return;
                }
                tokio::time::sleep(FLUSH_BACKOFF.delay(failures)).await;
            }
        };
        if tokio::time::timeout(FLUSH_TIMEOUT, written).await.is_err() {
            inner.drop_all();
        }
    }
}

/// Marks a call as cancelled when its future is dropped.
struct RunningWrite<'a> {
    inner: &'a RecorderParts,
    name: &'a str,
    ended: bool,
}

impl Drop for RunningWrite<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.inner.state.lock().cancel(self.name, Instant::now());
            self.inner.queue.wake();
        }
    }
}

impl RecorderParts {
    /// Counts an occurrence. Returns the name of its series if that needs a call.
    fn add(&self, regarding: &Regarding, event: &NewEvent) -> Option<String> {
        if !self.is_leader() {
            return None;
        }
        let ids = regarding.ids.or_else(current_ids);
        self.traces.emit_event(&regarding.object, event);
        let caller = CallingReconcile::current();
        let (name, action) = self.state.lock().add(regarding, event, ids, caller, now(), Instant::now());
        let outcome = match action {
            PublishAction::Write => return Some(name),
            PublishAction::Await => return None,
            PublishAction::Defer => EventOutcome::Aggregated,
            PublishAction::Drop => EventOutcome::Dropped,
        };
        self.count(event.type_, event.reason, &[(outcome, 1)]);
        self.queue.wake();
        None
    }

    /// Whether this replica leads. After a change of leader, the series in memory are out of date and dropped.
    fn is_leader(&self) -> bool {
        let Some(leading) = self.leading.get() else { return true };
        let mut leading = leading.lock();
        if leading.has_changed().unwrap_or(false) {
            self.drop_all();
        }
        *leading.borrow_and_update()
    }

    /// Drops every series and counts the unwritten occurrences as failed.
    fn drop_all(&self) {
        let unwritten = self.state.lock().drop_all();
        for (type_, reason, count) in unwritten {
            self.count(type_, reason, &[(EventOutcome::Failed, count)]);
        }
    }

    /// I/O: makes the calls that wait, however many reconciles run.
    async fn write_all(&self) {
        let mut running = FuturesUnordered::new();
        loop {
            running.extend(std::iter::from_fn(|| self.queue.pop()).map(|slot| self.write_in(slot)));
            if running.next().await.is_none() {
                return;
            }
        }
    }

    /// I/O: makes the calls that a series needs now, in its slot.
    pub(super) async fn write_in(&self, slot: CallSlot<'_>) {
        self.write(&slot.event.name).await;
    }

    /// I/O: makes the calls that a series needs now.
    async fn write(&self, name: &str) {
        while self.is_leader() {
            let Some(write) = self.state.lock().begin(name) else { return };
            let mut running = RunningWrite { inner: self, name, ended: false };
            let call = async {
                match &write.pending {
                    Some(pending) => self.create(name, &write, pending).await,
                    None => self.patch_series(name, &write).await,
                }
            };
            let result = CallingReconcile::run(write.caller.as_ref(), call).await;
            running.ended = true;
            let (result, error) = match result {
                Ok(result) => (result, None),
                Err(error) => (EventWriteResult::Failed(error.retry_after), Some(error)),
            };
            let after = self.state.lock().end(name, &write, result, Instant::now());
            match (&after, error) {
                (NextStep::Forget(_), Some(error)) => tracing::warn!(%error, "gave up writing an Event"),
                (_, Some(error)) => tracing::debug!(%error, "failed to write an Event, retrying"),
                _ => {}
            }
            if let NextStep::Done(outcomes) | NextStep::Forget(outcomes) = after {
                self.count(write.type_, write.reason, &outcomes);
                self.queue.wake();
                return;
            }
        }
    }

    fn count(&self, type_: &'static str, reason: &'static str, outcomes: &[(EventOutcome, u32)]) {
        // Elpio publishes no other types and reasons.
        let Some((type_, reason)) = EventType::parse(type_).zip(EventReason::parse(reason)) else { return };
        for (outcome, count) in outcomes {
            for _ in 0..*count {
                self.metrics.event(type_, reason, *outcome);
            }
        }
    }

    async fn create(
        &self,
        name: &str,
        write: &EventWrite,
        pending: &PendingEvent,
    ) -> Result<EventWriteResult, ApiError> {
        let name = alternative_name(name, write.names_taken);
        let counted =
            EventCount { count: write.count, first: write.first, last: write.last, instance: &self.instance };
        let event = build_event(&pending.regarding, &pending.event, &name, pending.ids.as_ref(), &counted);
        let created = send(&self.client, &write.namespace, |request| {
            let body = serde_json::to_vec(&event).map_err(request::Error::SerializeBody)?;
            request.create(&PostParams::default(), body)
        });
        let error = match call_with_timeout(call("create", &write.namespace, &name), created).await {
            Err(error) if error.class == ErrorType::Conflict => error,
            result => return result,
        };
        let api: Api<Event> = Api::namespaced(self.client.clone(), &write.namespace);
        // It exists: created before a restart, by another replica, or by a call whose answer was lost; or it
        // is foreign.
        let found = call_with_timeout(call("get", &write.namespace, &name), api.get_opt(&name))
            .await?
            .ok_or(error)?;
        Ok(EventWriteResult::Found(found_event(&found, &pending.regarding)))
    }

    async fn patch_series(&self, name: &str, write: &EventWrite) -> Result<EventWriteResult, ApiError> {
        let name = alternative_name(name, write.names_taken);
        let last = MicroTime(write.last);
        let mut patch = serde_json::json!({"series": {"count": write.count, "lastObservedTime": last}});
        if let Some(trace) = &write.last_trace {
            patch["metadata"] = serde_json::json!({"annotations": {annotation::LAST_TRACE_ID: trace}});
        }
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        let patched = send(&self.client, &write.namespace, |request| request.patch(&name, &params, &patch));
        match call_with_timeout(call("patch", &write.namespace, &name), patched).await {
            Err(error) if error.class == ErrorType::NotFound => Ok(EventWriteResult::Expired),
            result => result,
        }
    }
}

pub(super) fn call(verb: &'static str, namespace: &str, name: &str) -> ApiCall {
    ApiCall::new(verb, "events.events.k8s.io", namespace, name)
}
