//! Watches the objects and their Events, and shows them: a table that is redrawn on a terminal, and one line
//! per Event. It changes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use futures::stream::{BoxStream, StreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::{
    Client, ResourceExt as _,
    api::{Api, ListParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::{WatchStreamExt as _, watcher},
};

use crate::{
    table::{self, Line, State},
    terminal::{Terminal, Tone},
    text::truncate,
};

/// It takes 20 s on an idle machine; after this, something is wrong.
const TIMEOUT: Duration = Duration::from_mins(5);
const TICK: Duration = Duration::from_millis(500);
/// Columns of the object's name and of the Event's reason.
const NAME: usize = 17;
const REASON: usize = 15;
/// Columns before an Event's note.
const NOTE: usize = 2 + 8 + 2 + NAME + 1 + REASON + 1;
/// Narrower terminals have no room for the trace id.
const WIDE: usize = 110;

/// Name and kind, so that a function is listed before the service of the same name.
pub type Key = (String, String);

/// The expected states: the samples become ready, and of the others Elpio's kinds fail.
pub fn expected_states(samples: &[DynamicObject], failing: &[DynamicObject]) -> BTreeMap<Key, State> {
    let is_elpio = |object: &&DynamicObject| {
        object.types.as_ref().is_some_and(|types| types.api_version.starts_with("elpio.io/"))
    };
    let all = |objects: &[DynamicObject], state| {
        objects.iter().filter(is_elpio).map(|object| (key(object), state)).collect::<Vec<_>>()
    };
    all(samples, State::Ready).into_iter().chain(all(failing, State::Failed)).collect()
}

enum Change {
    Object(Box<watcher::Event<DynamicObject>>),
    Event(Box<watcher::Event<Event>>),
}

pub struct Watch<'a> {
    terminal: &'a Terminal,
    changes: BoxStream<'static, Result<Change, watcher::Error>>,
    expected: BTreeMap<Key, State>,
    objects: BTreeMap<Key, Observed>,
    /// Names of the Events that were printed and still exist.
    events: BTreeSet<String>,
    /// Objects and the states that their Events have reported.
    reported: BTreeSet<(Key, State)>,
    start: Timestamp,
}

struct Observed {
    object: DynamicObject,
    state: State,
    /// When this generation was observed first.
    since: Instant,
    /// How long it took to become ready or to fail.
    took: Option<Duration>,
}

impl<'a> Watch<'a> {
    /// Opens the watches; call it before anything is applied.
    pub async fn start(
        client: &Client,
        terminal: &'a Terminal,
        expected: BTreeMap<Key, State>,
    ) -> Result<Self, String> {
        let mut streams = Vec::new();
        for kind in ["ElpioService", "ElpioFunction"] {
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("elpio.io", "v1alpha1", kind));
            let api: Api<DynamicObject> = Api::default_namespaced_with(client.clone(), &resource);
            api.list(&ListParams::default().limit(1)).await.map_err(|error| format!("{kind}: {error}"))?;
            let events = watcher(api, watcher::Config::default()).default_backoff();
            streams.push(events.map(|event| event.map(|event| Change::Object(Box::new(event)))).boxed());
        }
        let events: Api<Event> = Api::default_namespaced(client.clone());
        let events = watcher(events, watcher::Config::default()).default_backoff();
        streams.push(events.map(|event| event.map(|event| Change::Event(Box::new(event)))).boxed());
        Ok(Self {
            terminal,
            changes: futures::stream::select_all(streams).boxed(),
            expected,
            objects: BTreeMap::new(),
            events: BTreeSet::new(),
            reported: BTreeSet::new(),
            start: Timestamp::now(),
        })
    }

    /// Shows changes until all objects are in their expected states and their Events have arrived.
    pub async fn run_until_settled(&mut self) -> Result<(), String> {
        self.start = Timestamp::now();
        let start = Instant::now();
        let mut pending = self.pending();
        while !pending.is_empty() {
            if start.elapsed() > TIMEOUT {
                return Err(format!("not settled after {TIMEOUT:?}: {}", pending.join(", ")));
            }
            self.show_next().await;
            pending = self.pending();
        }
        self.terminal.clear_region();
        self.terminal.heading("kubectl get elpioservices,elpiofunctions");
        self.table().iter().for_each(|line| self.terminal.print(line));
        Ok(())
    }

    /// Shows changes until aborted.
    pub async fn run(&mut self) {
        loop {
            self.show_next().await;
        }
    }

    /// The objects of a kind that are in this state.
    pub fn objects(&self, kind: &str, state: State) -> Vec<&DynamicObject> {
        let matching = self.objects.iter().filter(|((_, of), seen)| of == kind && seen.state == state);
        matching.map(|(_, observed)| &observed.object).collect()
    }

    fn table(&self) -> Vec<String> {
        let took = |observed: &Observed| observed.took.unwrap_or_else(|| observed.since.elapsed());
        let lines: Vec<Line<'_>> = self
            .objects
            .values()
            .map(|observed| Line { object: &observed.object, took: took(observed) })
            .collect();
        table::render(&lines, self.terminal.width(), self.terminal.color())
    }

    /// Waits for a change or the next tick.
    async fn show_next(&mut self) {
        match tokio::time::timeout(TICK, self.changes.next()).await {
            Ok(Some(Ok(Change::Object(event)))) => self.on_object(*event),
            Ok(Some(Ok(Change::Event(event)))) => match *event {
                watcher::Event::Apply(event) | watcher::Event::InitApply(event) => self.on_event(&event),
                watcher::Event::Delete(event) => drop(self.events.remove(&event.name_any())),
                watcher::Event::Init | watcher::Event::InitDone => (),
            },
            // The watcher reconnects.
            Ok(Some(Err(_)) | None) | Err(_) => (),
        }
        if self.terminal.is_live() {
            let mut lines = vec![String::new()];
            lines.extend(self.table());
            self.terminal.show_region(&lines);
        }
    }

    /// The objects that are not in their expected state.
    fn pending(&self) -> Vec<String> {
        let is_settled = |key: &Key, expected: &State| {
            self.objects.get(key).is_some_and(|observed| observed.state == *expected)
                && self.reported.contains(&(key.clone(), *expected))
        };
        self.expected
            .iter()
            .filter(|(key, expected)| !is_settled(key, expected))
            .map(|((name, kind), _)| display_name(name, kind))
            .collect()
    }

    fn on_object(&mut self, event: watcher::Event<DynamicObject>) {
        match event {
            watcher::Event::Apply(object) | watcher::Event::InitApply(object) => {
                let key = key(&object);
                let state = table::state(&object);
                let (since, took) = match self.objects.remove(&key) {
                    // The same generation may be scaled up again: that is no new rollout.
                    Some(previous) if previous.object.metadata.generation == object.metadata.generation => {
                        (previous.since, previous.took)
                    }
                    _ => (Instant::now(), None),
                };
                let is_settled = matches!(state, State::Ready | State::Failed);
                let took = table::rollout_duration(&object).or(took).or(is_settled.then(|| since.elapsed()));
                self.objects.insert(key, Observed { object, state, since, took });
            }
            watcher::Event::Delete(object) => {
                let key = key(&object);
                self.objects.remove(&key);
                self.reported.retain(|(of, _)| *of != key);
                self.print(Timestamp::now(), &display_name(&key.0, &key.1), "deleted");
            }
            watcher::Event::Init | watcher::Event::InitDone => (),
        }
    }

    fn on_event(&mut self, event: &Event) {
        if event.reporting_controller.as_deref() != Some("elpio.io/operator")
            || !self.events.insert(event.name_any())
        {
            return;
        }
        let regarding = event.regarding.clone().unwrap_or_default();
        let key = (regarding.name.unwrap_or_default(), regarding.kind.unwrap_or_default());
        let reason = event.reason.clone().unwrap_or_default();
        let is_warning = event.type_.as_deref() == Some("Warning");
        let tone = if is_warning { Tone::Bad } else { Tone::Dim };
        let note = self.fit_note(&event.note.clone().unwrap_or_default());
        let note = if is_warning { note } else { self.terminal.paint(Tone::Dim, note) };
        // When the Event happened, not when its watch delivered it.
        let time = event.event_time.as_ref().map_or_else(Timestamp::now, |time| time.0);
        let reason_column = self.terminal.paint(tone, format!("{reason:<REASON$}"));
        self.print(time, &display_name(&key.0, &key.1), &format!("{reason_column} {note}"));
        if is_warning || reason == "Ready" {
            self.reported.insert((key, if is_warning { State::Failed } else { State::Ready }));
        }
    }

    /// On a terminal, the note on one line, with the start of its trace id where there is room.
    fn fit_note(&self, note: &str) -> String {
        if !self.terminal.is_live() {
            return note.to_owned();
        }
        let width = self.terminal.width();
        let (text, trace) = note.rsplit_once(" (trace ").unwrap_or((note, ""));
        let trace = trace.get(..8).filter(|_| width >= WIDE).map(|start| format!("  trace {start}"));
        let trace = trace.unwrap_or_default();
        format!("{}{trace}", truncate(text, width.saturating_sub(NOTE + trace.len() + 1)))
    }

    fn print(&self, time: Timestamp, name: &str, text: &str) {
        let seconds = format!("{:>6.2} s", time.duration_since(self.start).as_secs_f64().max(0.0));
        let name = truncate(name, NAME);
        self.terminal.line(&format!("{}  {name:<NAME$} {text}", self.terminal.paint(Tone::Dim, seconds)));
    }
}

fn key(object: &DynamicObject) -> Key {
    (object.name_any(), object.types.as_ref().map(|types| types.kind.clone()).unwrap_or_default())
}

/// Distinguishes a function from the service of the same name.
fn display_name(name: &str, kind: &str) -> String {
    if kind == "ElpioFunction" { format!("{name} (fn)") } else { name.to_owned() }
}
