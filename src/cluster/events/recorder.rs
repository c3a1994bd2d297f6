//! Publishes Events: one object for each (object, generation, type, reason, action, related), counted as a
//! series. It never fails a reconcile.
//!
//! An occurrence costs a call only when it is the first, the second, or the first after [`SERIES_UPDATE_INTERVAL`]; the rest
//! is counted here and told at the next of these moments. The API server lets an update change only metadata
//! and `series`.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::{api::events::v1::Event, apimachinery::pkg::apis::meta::v1::MicroTime};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use tokio::sync::Notify;

use crate::{
    api::{
        annotation,
        event::{EventReason, EventType, NewEvent},
    },
    cluster::{
        client::call::{ApiCall, ApiError, call_with_timeout},
        events::object::{CONTROLLER, EventCount, build_event, event_name, event_record, truncate},
    },
    telemetry::{ErrorType, EventOutcome, Kind, Metrics, SpanIds, Traces, current_ids},
};

/// After the second occurrence a series is told at most once in this time, and once after it has been quiet
/// for so long.
pub const SERIES_UPDATE_INTERVAL: Duration = Duration::from_secs(30);

/// Calls that one object's Events may cost at once, and how long it takes until one more is allowed.
const SPAM_BURST: u32 = 25;
const SPAM_REFILL: Duration = Duration::from_secs(10);

/// A series that nothing was added to for so long is forgotten here; the API server keeps it for an hour, and
/// it is taken up again from there.
const SERIES_TTL: Duration = Duration::from_mins(10);

/// The object that Events are about.
#[derive(Clone, Debug)]
pub struct Regarding {
    /// Its kind.
    pub kind: Kind,
    /// Its `apiVersion`.
    pub api_version: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The generation that the occurrence belongs to.
    pub generation: i64,
    /// The value of `elpio.io/rebuild`, or "".
    pub rebuild: String,
    /// When its status last changed: the same occurrence published since then is this one, by somebody who
    /// was stopped before the status could say so. `None`: every publication is an occurrence of its own.
    pub since: Option<Timestamp>,
}

/// Publishes Events.
#[derive(Clone)]
pub struct Recorder(Arc<Inner>);

struct Inner {
    client: Client,
    instance: String,
    metrics: Metrics,
    traces: Traces,
    state: Mutex<RecorderState>,
    pending: Notify,
}

#[derive(Default)]
struct RecorderState {
    series: HashMap<String, Series>,
    budgets: HashMap<String, (f64, Instant)>,
    swept: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Series {
    namespace: String,
    count: i32,
    /// What the API server was told; 0: it does not have the Event.
    recorded: i32,
    recorded_at: Instant,
    last: Timestamp,
    last_trace: Option<String>,
}

enum PublishAction {
    Create,
    Patch(Series),
    Defer,
    Drop,
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
        Self(Arc::new(Inner {
            client,
            instance,
            metrics,
            traces,
            state: Mutex::default(),
            pending: Notify::new(),
        }))
    }

    /// I/O: publishes one occurrence inside the current span.
    pub async fn publish(&self, regarding: &Regarding, event: &NewEvent) {
        let inner = &*self.0;
        let ids = current_ids();
        inner.traces.emit_event(&event_record(regarding, event));
        let name = event_name(regarding, event);
        let outcome = match inner.decide(regarding, &name, ids.as_ref()) {
            PublishAction::Create => inner.create(regarding, event, &name, ids.as_ref()).await,
            PublishAction::Patch(series) => inner.patch_series(&name, &series).await,
            PublishAction::Defer => {
                inner.pending.notify_one();
                EventOutcome::Aggregated
            }
            PublishAction::Drop => EventOutcome::Dropped,
        };
        // The recorder publishes these types and reasons alone.
        if let Some((type_, reason)) = EventType::parse(event.type_).zip(EventReason::parse(event.reason)) {
            inner.metrics.event(type_, reason, outcome);
        }
    }

    /// I/O: the names of Elpio's Events that a namespace has. Empty when they cannot be listed: their names are
    /// derived, so that one that is published again is found by its name.
    pub async fn published_names(&self, namespace: &str) -> BTreeSet<String> {
        let api: Api<Event> = Api::namespaced(self.0.client.clone(), namespace);
        let own = ListParams::default().fields(&format!("reportingController={CONTROLLER}"));
        match call_with_timeout(call("list", namespace, ""), api.list_metadata(&own)).await {
            Ok(events) => events.items.iter().map(ResourceExt::name_any).collect(),
            Err(error) => {
                tracing::debug!(%error, "failed to list Events");
                BTreeSet::new()
            }
        }
    }

    /// Tells the series that are due, for ever.
    pub async fn run(&self) {
        loop {
            let Some(due) = self.0.next_due() else {
                self.0.pending.notified().await;
                continue;
            };
            tokio::time::sleep_until(due.into()).await;
            self.flush_due(|series| series.recorded_at + SERIES_UPDATE_INTERVAL <= Instant::now()).await;
        }
    }

    /// Tells every series that has something untold, as at shutdown.
    pub async fn flush(&self) {
        self.flush_due(|_| true).await;
    }

    async fn flush_due(&self, due: impl Fn(&Series) -> bool) {
        let ready: Vec<(String, Series)> = {
            let state = self.0.lock();
            state
                .series
                .iter()
                .filter(|(_, s)| s.recorded > 0 && s.count > s.recorded && due(s))
                .map(|(n, s)| (n.clone(), s.clone()))
                .collect()
        };
        join_all(ready.iter().map(|(name, series)| self.0.patch_series(name, series))).await;
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, RecorderState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the occurrence and decides what it costs.
    fn decide(&self, regarding: &Regarding, name: &str, ids: Option<&SpanIds>) -> PublishAction {
        let now = Instant::now();
        let mut state = self.lock();
        state.gc(now);
        let series = state.series.entry(name.to_owned()).or_insert_with(|| Series {
            namespace: regarding.namespace.clone(),
            count: 0,
            recorded: 0,
            recorded_at: now,
            last: Timestamp::now(),
            last_trace: None,
        });
        series.count = series.count.saturating_add(1);
        series.last = Timestamp::now();
        series.last_trace = ids.map(|ids| ids.trace_id.clone());
        let turn = match series.recorded {
            0 => PublishAction::Create,
            1 => PublishAction::Patch(series.clone()),
            _ if series.recorded_at + SERIES_UPDATE_INTERVAL <= now => PublishAction::Patch(series.clone()),
            _ => PublishAction::Defer,
        };
        if matches!(turn, PublishAction::Defer) || state.take_token(&regarding.uid, now) {
            turn
        } else {
            PublishAction::Drop
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.lock()
            .series
            .values()
            .filter(|s| s.recorded > 0 && s.count > s.recorded)
            .map(|s| s.recorded_at + SERIES_UPDATE_INTERVAL)
            .min()
    }

    async fn create(
        &self,
        regarding: &Regarding,
        event: &NewEvent,
        name: &str,
        ids: Option<&SpanIds>,
    ) -> EventOutcome {
        let Some(series) = self.lock().series.get(name).cloned() else { return EventOutcome::Failed };
        let counted = EventCount { count: series.count, last: series.last, instance: &self.instance };
        let event = build_event(regarding, event, name, ids, &counted);
        let api: Api<Event> = Api::namespaced(self.client.clone(), &regarding.namespace);
        match call_with_timeout(
            call("create", &regarding.namespace, name),
            api.create(&PostParams::default(), &event),
        )
        .await
        {
            Ok(_) => {
                self.recorded(name, series.count);
                EventOutcome::Created
            }
            // A replica before us began this series: go on counting where it stands.
            Err(error) if error.class == ErrorType::Conflict => {
                self.adopt_series(&api, name, regarding.since).await
            }
            Err(error) => log_failure(&error),
        }
    }

    async fn adopt_series(&self, api: &Api<Event>, name: &str, since: Option<Timestamp>) -> EventOutcome {
        let found = match call_with_timeout(call("get", "", name), api.get_opt(name)).await {
            Ok(found) => found,
            Err(error) => return log_failure(&error),
        };
        let series_before = found.as_ref().and_then(|event| event.series.clone());
        let before = series_before.as_ref().map_or(1, |series| series.count);
        let last = series_before
            .map(|series| series.last_observed_time.0)
            .or_else(|| found.and_then(|event| event.event_time).map(|at| at.0));
        // Whoever published it was stopped before the status could say so: it is no second occurrence.
        let same = since.zip(last).is_some_and(|(since, last)| last >= since);
        let series = {
            let mut state = self.lock();
            let Some(series) = state.series.get_mut(name) else { return EventOutcome::Failed };
            if series.recorded == 0 {
                series.count = series.count.saturating_add(before).saturating_sub(i32::from(same));
                series.recorded = before;
            }
            series.clone()
        };
        if same && series.count == series.recorded {
            return EventOutcome::Aggregated;
        }
        self.patch_series(name, &series).await
    }

    /// I/O: writes the series' count.
    async fn patch_series(&self, name: &str, series: &Series) -> EventOutcome {
        let mut patch = serde_json::json!({"series": {"count": series.count, "lastObservedTime": MicroTime(series.last)}});
        if let Some(trace) = &series.last_trace {
            patch["metadata"] = serde_json::json!({"annotations": {annotation::LAST_TRACE_ID: trace}});
        }
        // Reserved before the call, so that occurrences meanwhile wait for the next moment rather than
        // calling too.
        self.recorded(name, series.count);
        let api: Api<Event> = Api::namespaced(self.client.clone(), &series.namespace);
        match call_with_timeout(
            call("patch", &series.namespace, name),
            api.patch(name, &PatchParams::default(), &Patch::Merge(patch)),
        )
        .await
        {
            Ok(_) => EventOutcome::Aggregated,
            Err(error) => {
                if let Some(known) = self.lock().series.get_mut(name) {
                    // It outlived its hour in the API server: the next occurrence begins a new one.
                    self.pending.notify_one();
                    known.recorded = if error.class == ErrorType::NotFound {
                        0
                    } else {
                        known.recorded.min(series.recorded.max(1))
                    };
                }
                log_failure(&error)
            }
        }
    }

    fn recorded(&self, name: &str, count: i32) {
        if let Some(series) = self.lock().series.get_mut(name) {
            series.recorded = count;
            series.recorded_at = Instant::now();
        }
    }
}

impl RecorderState {
    /// Takes one call from an object's budget, if there is one left.
    fn take_token(&mut self, uid: &str, now: Instant) -> bool {
        let (tokens, since) = self.budgets.entry(uid.to_owned()).or_insert((f64::from(SPAM_BURST), now));
        *tokens = (*tokens + now.duration_since(*since).as_secs_f64() / SPAM_REFILL.as_secs_f64())
            .min(f64::from(SPAM_BURST));
        *since = now;
        let allowed = *tokens >= 1.0;
        if allowed {
            *tokens -= 1.0;
        }
        allowed
    }

    /// Forgets what has been quiet for long.
    fn gc(&mut self, now: Instant) {
        if self.swept.is_some_and(|at| at + SERIES_TTL / 10 > now) {
            return;
        }
        self.swept = Some(now);
        self.series.retain(|_, s| s.count > s.recorded && s.recorded > 0 || s.recorded_at + SERIES_TTL > now);
        self.budgets.retain(|_, (_, since)| *since + SERIES_TTL > now);
    }
}

fn call(verb: &'static str, namespace: &str, name: &str) -> ApiCall {
    ApiCall { verb, resource: "events.events.k8s.io".into(), namespace: namespace.into(), name: name.into() }
}

fn log_failure(error: &ApiError) -> EventOutcome {
    tracing::debug!(%error, "an Event could not be written");
    EventOutcome::Failed
}

#[cfg(test)]
#[path = "recorder_test.rs"]
mod tests;
