//! What happens, as it happens: the objects as a live table or line by line, and their Events. Only watches.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use futures::stream::{BoxStream, StreamExt as _};
use k8s_openapi::api::events::v1::Event;
use kube::{
    Client, ResourceExt as _,
    api::{Api, ListParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::{WatchStreamExt as _, watcher},
};

use crate::{
    screen::fit,
    table::{self, Row, State, place, ready, text},
    terminal::{Terminal, Tone},
};

/// What takes 20 s on a quiet machine; after this, something is wrong.
const BOUND: Duration = Duration::from_mins(5);
const TICK: Duration = Duration::from_millis(500);
/// Where no window ends.
const WIDE: usize = 200;
const NAME: usize = 17;
const REASON: usize = 15;

/// Name and kind, so that a function stands before the service of its name.
pub type Key = (String, String);

/// The samples become ready; of the others, those of our kinds fail.
pub fn expected(samples: &[DynamicObject], failing: &[DynamicObject]) -> BTreeMap<Key, State> {
    let ours = |object: &&DynamicObject| {
        object.types.as_ref().is_some_and(|types| types.api_version.starts_with("elpio.io/"))
    };
    let all = |objects: &[DynamicObject], state| {
        objects.iter().filter(ours).map(|object| (key(object), state)).collect::<Vec<_>>()
    };
    all(samples, State::Ready).into_iter().chain(all(failing, State::Failed)).collect()
}

enum News {
    Object(Box<watcher::Event<DynamicObject>>),
    Event(Box<watcher::Event<Event>>),
}

pub struct Story<'a> {
    terminal: &'a Terminal,
    news: BoxStream<'static, Result<News, watcher::Error>>,
    /// What is to become ready, and what is to fail.
    expected: BTreeMap<Key, State>,
    objects: BTreeMap<Key, Seen>,
    told: BTreeMap<Key, String>,
    /// Names of Events that were told, and are still there.
    events: BTreeSet<String>,
    /// Those whose Event says that they are ready, or that something is wrong with them.
    announced: BTreeSet<(Key, State)>,
    start: Instant,
}

struct Seen {
    object: DynamicObject,
    state: State,
    /// When this generation was first seen, and how long it took to be ready or to fail.
    since: Instant,
    took: Option<Duration>,
}

impl<'a> Story<'a> {
    /// Opens the watches, before anything is applied.
    pub async fn begin(
        client: &Client,
        terminal: &'a Terminal,
        expected: BTreeMap<Key, State>,
    ) -> Result<Self, String> {
        let mut all = Vec::new();
        for kind in ["ElpioService", "ElpioFunction"] {
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("elpio.io", "v1alpha1", kind));
            let api: Api<DynamicObject> = Api::default_namespaced_with(client.clone(), &resource);
            api.list(&ListParams::default().limit(1)).await.map_err(|error| format!("{kind}: {error}"))?;
            let events = watcher(api, watcher::Config::default()).default_backoff();
            all.push(events.map(|event| event.map(|event| News::Object(Box::new(event)))).boxed());
        }
        let events: Api<Event> = Api::default_namespaced(client.clone());
        let events = watcher(events, watcher::Config::default()).default_backoff();
        all.push(events.map(|event| event.map(|event| News::Event(Box::new(event)))).boxed());
        Ok(Self {
            terminal,
            news: futures::stream::select_all(all).boxed(),
            expected,
            objects: BTreeMap::new(),
            told: BTreeMap::new(),
            events: BTreeSet::new(),
            announced: BTreeSet::new(),
            start: Instant::now(),
        })
    }

    /// Tells until everything is as expected and its Event has come.
    pub async fn until_settled(&mut self) -> Result<(), String> {
        self.start = Instant::now();
        let mut waiting = self.waiting();
        while !waiting.is_empty() {
            if self.start.elapsed() > BOUND {
                return Err(format!("not after {BOUND:?}: {}", waiting.join(", ")));
            }
            self.next().await;
            waiting = self.waiting();
        }
        self.leave_table();
        Ok(())
    }

    /// Tells for ever.
    pub async fn go_on(&mut self) {
        loop {
            self.next().await;
        }
    }

    /// The objects of a kind that do so.
    pub fn of(&self, kind: &str, state: State) -> Vec<&DynamicObject> {
        let of_kind = self.objects.iter().filter(|((_, of), seen)| of == kind && seen.state == state);
        of_kind.map(|(_, seen)| &seen.object).collect()
    }

    /// The table stays where it is, and what comes stands below it.
    fn leave_table(&self) {
        self.terminal.show(Vec::new());
        self.terminal.heading("kubectl get elpioservices,elpiofunctions");
        self.table(if self.terminal.is_live() { self.terminal.width() } else { WIDE })
            .iter()
            .for_each(|line| self.terminal.put(line));
    }

    fn table(&self, width: usize) -> Vec<String> {
        let took = |seen: &Seen| seen.took.unwrap_or_else(|| seen.since.elapsed());
        let rows: Vec<Row<'_>> =
            self.objects.values().map(|seen| Row { object: &seen.object, took: took(seen) }).collect();
        table::lines(&rows, width, |tone, text| self.terminal.paint(tone, text))
    }

    /// The next piece of news, or only the time.
    async fn next(&mut self) {
        match tokio::time::timeout(TICK, self.news.next()).await {
            Ok(Some(Ok(News::Object(event)))) => self.object(*event),
            Ok(Some(Ok(News::Event(event)))) => match *event {
                watcher::Event::Apply(event) | watcher::Event::InitApply(event) => self.event(&event),
                watcher::Event::Delete(event) => drop(self.events.remove(&event.name_any())),
                watcher::Event::Init | watcher::Event::InitDone => (),
            },
            // The watcher opens it again.
            Ok(Some(Err(_)) | None) | Err(_) => (),
        }
        if self.terminal.is_live() {
            let mut lines = vec![String::new()];
            lines.extend(self.table(self.terminal.width()));
            self.terminal.show(lines);
        }
    }

    /// What has not come to its end.
    fn waiting(&self) -> Vec<String> {
        let is = |key: &Key, wanted: &State| self.objects.get(key).is_some_and(|seen| seen.state == *wanted);
        let done =
            |key: &Key, wanted: &State| is(key, wanted) && self.announced.contains(&(key.clone(), *wanted));
        self.expected
            .iter()
            .filter(|(key, wanted)| !done(key, wanted))
            .map(|((name, kind), _)| shown(name, kind))
            .collect()
    }

    fn object(&mut self, event: watcher::Event<DynamicObject>) {
        match event {
            watcher::Event::Apply(object) | watcher::Event::InitApply(object) => {
                let key = key(&object);
                let state = table::state(&object);
                let before = self.objects.remove(&key);
                let (since, took) = match before {
                    // An autoscaler at work is no new way to go.
                    Some(before) if before.object.metadata.generation == object.metadata.generation => {
                        (before.since, before.took)
                    }
                    _ => (Instant::now(), None),
                };
                let settled = matches!(state, State::Ready | State::Failed);
                let took = table::rolled_out(&object).or(took).or(settled.then(|| since.elapsed()));
                self.condition(&key, &object);
                self.objects.insert(key, Seen { object, state, since, took });
            }
            watcher::Event::Delete(object) => {
                let key = key(&object);
                self.objects.remove(&key);
                self.told.remove(&key);
                self.announced.retain(|(of, _)| *of != key);
                self.tell(&shown(&key.0, &key.1), "deleted");
            }
            watcher::Event::Init | watcher::Event::InitDone => (),
        }
    }

    /// Tells the `Ready` condition, when it is news and no table shows it.
    fn condition(&mut self, key: &Key, object: &DynamicObject) {
        let ready = ready(object);
        let (tone, reason, what) = match table::state(object) {
            State::Unknown => return,
            State::Ready => (Tone::Good, "Ready".to_owned(), place(&object.data["status"])),
            State::Waiting => (Tone::Waiting, text(&ready, "reason"), text(&ready, "message")),
            State::Failed => (Tone::Bad, text(&ready, "reason"), text(&ready, "message")),
        };
        let told = format!("{} {what}", self.reason(tone, &reason));
        if !self.terminal.is_live() && self.told.get(key) != Some(&told) {
            self.tell(&shown(&key.0, &key.1), &told);
            self.told.insert(key.clone(), told);
        }
    }

    fn event(&mut self, event: &Event) {
        if event.reporting_controller.as_deref() != Some("elpio.io/operator")
            || !self.events.insert(event.name_any())
        {
            return;
        }
        let regarding = event.regarding.clone().unwrap_or_default();
        let key = (regarding.name.unwrap_or_default(), regarding.kind.unwrap_or_default());
        let reason = event.reason.clone().unwrap_or_default();
        let warning = event.type_.as_deref() == Some("Warning");
        let tone = if warning { Tone::Bad } else { Tone::Dim };
        let note = event.note.clone().unwrap_or_default();
        let note = if self.terminal.is_live() { self.brief(&note) } else { format!("Event: {note}") };
        self.tell(
            &shown(&key.0, &key.1),
            &format!("{} {}", self.reason(tone, &reason), self.paint_note(warning, note)),
        );
        if warning || reason == "Ready" {
            self.announced.insert((key, if warning { State::Failed } else { State::Ready }));
        }
    }

    /// On one line, with the beginning of its trace's id.
    fn brief(&self, note: &str) -> String {
        let (text, trace) = note.rsplit_once(" (trace ").unwrap_or((note, ""));
        let trace = trace.get(..8).map(|start| format!("  trace {start}")).unwrap_or_default();
        let room = self.terminal.width().saturating_sub(2 + 8 + 2 + NAME + 1 + REASON + 2 + trace.len());
        format!("{}{trace}", fit(text, room.max(30)))
    }

    fn paint_note(&self, warning: bool, note: String) -> String {
        if warning { note } else { self.terminal.paint(Tone::Dim, note) }
    }

    fn reason(&self, tone: Tone, reason: &str) -> String {
        self.terminal.paint(tone, format!("{reason:<REASON$}"))
    }

    fn tell(&self, name: &str, what: &str) {
        let time = format!("{:>6.2} s", self.start.elapsed().as_secs_f64());
        self.terminal.line(&format!("{}  {name:<NAME$} {what}", self.terminal.paint(Tone::Dim, time)));
    }
}

fn key(object: &DynamicObject) -> Key {
    (object.name_any(), object.types.as_ref().map(|types| types.kind.clone()).unwrap_or_default())
}

/// A function is shown apart from the service of its name.
fn shown(name: &str, kind: &str) -> String {
    if kind == "ElpioFunction" { format!("{name} (fn)") } else { name.to_owned() }
}
